/** Routes of models: what the catalogue holds, in OpenAI's form. */
import { errorBody, limits, model, modelList, type Model } from "@flamboyance/contracts";
import type { FastifyPluginCallbackZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { ApiContext } from "./context.ts";
import type { CatalogueModel } from "./model-catalogue.ts";

const failures = { "4xx": errorBody, "5xx": errorBody };

export const modelRoutes: FastifyPluginCallbackZod<{ readonly context: ApiContext }> = (app, { context }, done) => {
  app.get(
    "/v1/models",
    {
      config: { scope: "read" },
      schema: {
        operationId: "listModels",
        summary: "The models of the catalogue.",
        tags: ["models"],
        response: { 200: modelList, ...failures },
      },
    },
    async (request) => ({ object: "list" as const, data: (await context.catalogue.list(request.waiting)).map(viewModel) }),
  );

  app.get(
    "/v1/models/:id",
    {
      config: { scope: "read" },
      schema: {
        operationId: "getModel",
        summary: "One model.",
        tags: ["models"],
        params: z.object({ id: z.string().max(limits.idCharacters) }),
        response: { 200: model, ...failures },
      },
    },
    async (request) => viewModel(await context.catalogue.find(request.params.id, request.waiting)),
  );

  done();
};

function viewModel({ name, createdAt }: CatalogueModel): Model {
  return { id: name, object: "model", created: createdAt, owned_by: "flamboyance" };
}
