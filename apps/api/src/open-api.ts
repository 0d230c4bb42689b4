/** What the OpenAPI document says beside its routes, and which of its schemas have a name there. */
import {
  apiKey,
  batch,
  createDatasetBatch,
  dryRunReport,
  errorBody,
  model,
  resultLine,
  supportExample,
  tenant,
} from "@flamboyance/contracts";
import type { FastifyDynamicSwaggerOptions, SwaggerTransformObject } from "@fastify/swagger";
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from "fastify-type-provider-zod";
import { z } from "zod";

const schemaRegistry = z.registry<{ id: string }>();
schemaRegistry.add(batch, { id: "Batch" });
schemaRegistry.add(createDatasetBatch, { id: "CreateDatasetBatch" });
schemaRegistry.add(supportExample, { id: "SupportExample" });
schemaRegistry.add(resultLine, { id: "ResultLine" });
schemaRegistry.add(dryRunReport, { id: "DryRunReport" });
schemaRegistry.add(model, { id: "Model" });
schemaRegistry.add(tenant, { id: "Tenant" });
schemaRegistry.add(apiKey, { id: "Key" });
schemaRegistry.add(errorBody, { id: "ErrorBody" });

/** Options of @fastify/swagger. */
export const openApi: FastifyDynamicSwaggerOptions = {
  openapi: {
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
      { name: "quotas", description: "What a tenant has, and the most that it may have." },
      { name: "admin", description: "Tenants and their keys; for keys with the scope `admin`." },
    ],
    components: { securitySchemes: { key: { type: "http" as const, scheme: "bearer" } } },
    security: [{ key: [] }],
  },
  transform: createJsonSchemaTransform({ schemaRegistry }),
  transformObject: withoutUnused(createJsonSchemaTransformObject({ schemaRegistry })),
};

/** Every named schema comes in two forms, as it is read and as it is written; those that no route speaks of go. */
function withoutUnused(transform: SwaggerTransformObject): SwaggerTransformObject {
  return (document) => {
    const whole = transform(document);
    const schemas = "components" in whole ? (whole.components?.schemas ?? {}) : {};
    const used = new Set<string>();
    const follow = (part: unknown): void => {
      for (const [, name] of JSON.stringify(part ?? null).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
        if (name === undefined || used.has(name)) continue;
        used.add(name);
        follow(schemas[name]);
      }
    };
    follow(whole.paths);
    for (const name of Object.keys(schemas)) if (!used.has(name)) delete schemas[name];
    return whole;
  };
}
