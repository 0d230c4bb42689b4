/** Routes for those who run the service: live, ready, metrics, the OpenAPI document. None needs a key; none tells about a tenant. */
import { CodedError } from "@flamboyance/contracts";
import type { FastifyPluginCallback } from "fastify";
import type { Registry } from "prom-client";
import type { Check } from "./metrics.ts";

const checkTimeoutMs = 3_000;

export interface OperationRoutesOptions {
  readonly dependencies: Readonly<Record<string, Check>>;
  readonly registry: Registry;
}

export const operationRoutes: FastifyPluginCallback<OperationRoutesOptions> = (app, { dependencies, registry }, done) => {
  const schema = { hide: true };

  app.get("/health", { schema }, () => ({ status: "ok" }));

  app.get("/ready", { schema }, async () => {
    const signal = AbortSignal.timeout(checkTimeoutMs);
    await Promise.all(
      Object.entries(dependencies).map(async ([name, check]) => {
        try {
          await check(signal);
        } catch (error) {
          throw new CodedError("service_unavailable", `${name} doesn't answer.`, { cause: error });
        }
      }),
    );
    return { status: "ready" };
  });

  app.get("/metrics", { schema }, async (_request, reply) => {
    const text = await registry.metrics();
    return reply.type(registry.contentType).send(text);
  });

  app.get("/openapi.json", { schema }, (_request, reply) => reply.send(app.swagger()));

  done();
};
