/**
 * The HTTP application: routes, keys, errors, figures, the OpenAPI document, put together from what it is given.
 * Opens and closes nothing but itself: Redis and S3 belong to main.
 */
import fastifySwagger from "@fastify/swagger";
import { CodedError, limits, type TenantKey } from "@flamboyance/contracts";
import Fastify, { LogController, type FastifyInstance } from "fastify";
import { serializerCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { newUlid } from "@flamboyance/queue";
import { adminRoutes } from "./admin-routes.ts";
import { audit } from "./audit.ts";
import { authenticate } from "./authenticate.ts";
import { batchRoutes } from "./batch-routes.ts";
import type { ApiContext } from "./context.ts";
import { answerError, answerErrors } from "./error-answer.ts";
import { measure, within, type Check } from "./metrics.ts";
import { openCatalogue } from "./model-catalogue.ts";
import { modelRoutes } from "./model-routes.ts";
import { openApi } from "./open-api.ts";
import { operationRoutes } from "./operation-routes.ts";
import { quotaRoutes } from "./quota-routes.ts";
import { limitRates } from "./rate-limit.ts";
import { openKeyRing } from "./recognise-key.ts";
import { openTenantStore } from "./tenant-store.ts";
import { validatorCompiler } from "./validate.ts";
import { watchCallers } from "./waiting-caller.ts";

export interface AppDependencies extends Pick<ApiContext, "queue" | "storage" | "buckets" | "bucket"> {
  /** The configuration's; all others stand in the bucket. */
  readonly keys: readonly TenantKey[];
  /** How long what S3 said of a key is believed. Default 10 s. */
  readonly keySeconds?: number;
  /** Calls a second of one key, over all processes. Default 100. */
  readonly requestsPerSecond?: number;
  /** How long an answer about the model catalogue is good for. Default 10 s. */
  readonly catalogueSeconds?: number;
  readonly logLevel?: string;
  /** Where log lines go; standard output without it. */
  readonly logTo?: { write(line: string): void };
}

/** How long a request may take to arrive. */
const requestTimeoutMs = 60_000;
/** How long an answer may take before it is a 503 and its work is given up. */
const handlerTimeoutMs = 30_000;

/** The application, ready to listen or to be asked by `inject`. */
export async function createApp(dependencies: AppDependencies): Promise<FastifyInstance> {
  const {
    queue,
    storage,
    buckets,
    bucket,
    keys,
    keySeconds = 10,
    requestsPerSecond = 100,
    catalogueSeconds = 10,
    logLevel = "info",
    logTo,
  } = dependencies;
  const app = Fastify({
    logger: { level: logLevel, redact: ["req.headers.authorization"], ...(logTo === undefined ? {} : { stream: logTo }) },
    genReqId: () => `req_${newUlid()}`,
    requestIdHeader: false,
    // One line per answer below /v1 (beneath): probes and scrapes would drown them.
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: requestTimeoutMs,
    bodyLimit: limits.requestBodyBytes,
    handlerTimeout: handlerTimeoutMs,
    // While it closes, open connections still get answers (and are told that they are the last).
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => void answerError(error, request, reply),
    routerOptions: { maxParamLength: limits.idCharacters },
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  answerErrors(app);
  watchCallers(app);
  app.addHook("onRequest", (request, reply, done) => {
    void reply.header("x-request-id", request.id);
    done();
  });

  const checks: Record<string, Check> = {
    redis: async () => {
      if (!(await within(queue.ping(), false))) throw new CodedError("service_unavailable", "Redis doesn't answer.");
    },
    // Whether it is there doesn't matter: that S3 says so does.
    s3: async (signal) => void (await storage.describe({ bucket, key: "ready" }, { signal })),
  };
  const registry = measure(app, queue, checks);
  const context: ApiContext = { queue, storage, buckets, bucket, catalogue: openCatalogue(storage, bucket, catalogueSeconds) };
  const store = openTenantStore(storage, bucket);
  const keyRing = openKeyRing({ entries: keys, find: (id, signal) => store.findKey(id, signal), believedMs: keySeconds * 1_000 });

  await app.register(fastifySwagger, openApi);
  await app.register(operationRoutes, { dependencies: checks, registry });
  await app.register(async (scope) => {
    audit(scope);
    authenticate(scope, keyRing);
    limitRates(scope, queue, requestsPerSecond);
    scope.addHook("onResponse", (request, reply, done) => {
      const { method, url, caller } = request;
      const answered = {
        method,
        // Without what follows "?": whoever puts a secret there shouldn't find it in a log.
        url: url.split("?", 1)[0],
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        tenant: caller?.tenant,
        key: caller?.key,
      };
      request.log.info(answered, "answered");
      done();
    });
    await scope.register(batchRoutes, { context });
    await scope.register(modelRoutes, { context });
    await scope.register(quotaRoutes, { context });
    await scope.register(adminRoutes, { store, keyRing, bucket, entries: keys });
  });
  await app.ready();
  return app;
}
