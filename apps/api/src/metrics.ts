/**
 * The api's figures for Prometheus: its own answers by route, and what the queue holds just now.
 * Owns names and labels (never an id, a tenant or a path with an id in it: their number has no bound).
 */
import { recordStatus } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import type { FastifyInstance } from "fastify";
import { collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { waitsForWorker } from "./batch-view.ts";

/** Throws where what it asks doesn't answer. */
export type Check = (signal: AbortSignal) => Promise<void>;

const collectTimeoutMs = 2_000;

/** Counts every answer from now on; the text of /metrics is `registry.metrics()`. */
export function measure(app: FastifyInstance, queue: Queue, dependencies: Readonly<Record<string, Check>>): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const seconds = new Histogram({
    name: "flamboyance_http_request_duration_seconds",
    help: "Answers of the api: how long each took.",
    labelNames: ["method", "route", "status"],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  app.addHook("onResponse", (request, reply, done) => {
    const labels = { method: request.method, route: request.routeOptions.url ?? "none", status: String(reply.statusCode) };
    seconds.observe(labels, reply.elapsedTime / 1_000);
    done();
  });

  registry.registerMetric(
    new Gauge({
      name: "flamboyance_queue_jobs",
      help: "Jobs by queue: plan, finalize, and chunk by model key; ready or running.",
      labelNames: ["kind", "model_key", "state"],
      registers: [],
      async collect() {
        this.reset();
        for (const { kind, model: model_key = "", ready, running } of await within(queue.depths(), [])) {
          this.set({ kind, model_key, state: "ready" }, ready);
          this.set({ kind, model_key, state: "running" }, running);
        }
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "flamboyance_batches",
      help: "Batches that aren't settled, by status.",
      labelNames: ["status"],
      registers: [],
      async collect() {
        const counts = await within(queue.openCounts(), null);
        this.reset();
        if (counts === null) return;
        for (const status of recordStatus.options) {
          const found = counts.filter((group) => group.status === status);
          this.set(
            { status },
            found.reduce((total, { count }) => total + count, 0),
          );
        }
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "flamboyance_batches_waiting",
      help: "Batches that wait for a worker with their model, by its key: 0 for a served one, no line for a model that nobody serves or wants.",
      labelNames: ["model_key"],
      registers: [],
      async collect() {
        const answers = await within(Promise.all([queue.openCounts(), queue.liveModels()]), null);
        this.reset();
        if (answers === null) return;
        const [counts, live] = answers;
        const served = new Set(live.map(({ key }) => key));
        for (const model_key of served) this.set({ model_key }, 0);
        for (const { model: model_key, status, count } of counts)
          if (waitsForWorker(status, model_key, served)) this.inc({ model_key }, count);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "flamboyance_model_slots",
      help: "Slots of live workers by model key; no line for a model that nobody serves.",
      labelNames: ["model_key"],
      registers: [],
      async collect() {
        this.reset();
        for (const { key, slots } of await within(queue.liveModels(), [])) this.set({ model_key: key }, slots);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "flamboyance_dependency_up",
      help: "1 where Redis or S3 answers the api, else 0.",
      labelNames: ["dependency"],
      registers: [],
      async collect() {
        for (const [dependency, check] of Object.entries(dependencies)) {
          const up = await check(AbortSignal.timeout(collectTimeoutMs)).then(
            () => 1,
            () => 0,
          );
          this.set({ dependency }, up);
        }
      },
    }),
  );
  return registry;
}

/** A scrape must not hang on a Redis that is away: its lines are left out, and `flamboyance_dependency_up` says why. */
export async function within<Value>(answer: Promise<Value>, otherwise: Value): Promise<Value> {
  const { promise, resolve } = Promise.withResolvers<Value>();
  const patience = setTimeout(() => resolve(otherwise), collectTimeoutMs);
  try {
    return await Promise.race([answer, promise]);
  } catch {
    return otherwise;
  } finally {
    clearTimeout(patience);
  }
}
