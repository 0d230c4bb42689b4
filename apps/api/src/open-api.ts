/** What the OpenAPI document says beside its routes. */
export const openApi = {
  openapi: "3.1.0",
  info: {
    title: "Flamboyance",
    version: "1",
    description: "Captions and answers for images in S3, by the million. Errors are always `{error: {message, type, param, code}}`.",
    license: { name: "Apache-2.0", identifier: "Apache-2.0" },
  },
  tags: [
    { name: "batches", description: "A dataset of images, a task, ordered results." },
    { name: "models", description: "What the service can run." },
  ],
  components: { securitySchemes: { key: { type: "http" as const, scheme: "bearer" } } },
  security: [{ key: [] }],
};
