/** The route of a tenant's own quotas: what it has of each, and the most that it may have. */
import { errorBody, quotaUse } from "@flamboyance/contracts";
import type { FastifyPluginCallbackZod } from "fastify-type-provider-zod";
import { callerOf } from "./authenticate.ts";
import type { ApiContext } from "./context.ts";

export const quotaRoutes: FastifyPluginCallbackZod<{ readonly context: ApiContext }> = (app, { context }, done) => {
  app.get(
    "/v1/quotas",
    {
      config: { scope: "read" },
      schema: {
        operationId: "getQuotas",
        summary: "Your quotas, and what you have of each.",
        tags: ["quotas"],
        response: { 200: quotaUse, "4xx": errorBody, "5xx": errorBody },
      },
    },
    async (request) => {
      const { tenant, quotas } = callerOf(request);
      const have = await context.queue.quotaUse(tenant);
      return {
        object: "quota_use" as const,
        running_batches: { have: have.running_batches, most: quotas.running_batches ?? null },
        items_queued: { have: have.items_queued, most: quotas.items_queued ?? null },
        stored_bytes: { have: have.stored_bytes, most: quotas.stored_bytes ?? null },
      };
    },
  );

  done();
};
