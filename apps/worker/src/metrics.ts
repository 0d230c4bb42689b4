/**
 * What the worker counts for Prometheus: items, jobs, stage times, rows per run, queue depth. Owns names, labels and buckets.
 * No label takes a caller's words: `model` is the operator's name, `model_key` its content hash and precision, codes are the table's.
 */
import type { ModelStats } from "@flamboyance/model";
import type { Depth } from "@flamboyance/queue";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export type Stage = "read" | "fetch" | "decode" | "reuse" | "engine" | "write" | "plan" | "finalize" | "deliver";

export interface Metrics {
  readonly registry: Registry;
  /** One more item has its line; `code` is `ok` or an error's. */
  item(model: string, code: string): void;
  job(kind: string, result: "done" | "handed_back" | "failed"): void;
  /** Times a stage of the pipe. */
  time<Result>(stage: Stage, work: () => Promise<Result>): Promise<Result>;
  chunkStarted(): void;
  chunkEnded(): void;
  engine(model: string, stats: ModelStats): void;
  /** An item of a batch with `reuse` looked for its answer; or the looking met a fault. */
  reuse(result: "hit" | "miss" | "fault"): void;
  repaired(kind: string): void;
  modelsServed(count: number): void;
}

export function createMetrics(depths: () => Promise<readonly Depth[]>): Metrics {
  const registry = new Registry();
  const registers = [registry];
  // With the event loop's lag, memory, handles.
  collectDefaultMetrics({ register: registry });
  const items = new Counter({
    name: "flamboyance_items_total",
    help: "Items that got their line, by outcome (ok or failed) and code.",
    labelNames: ["model", "outcome", "code"],
    registers,
  });
  const jobs = new Counter({ name: "flamboyance_jobs_total", help: "Jobs by kind and result.", labelNames: ["kind", "result"], registers });
  const stages = new Histogram({
    name: "flamboyance_stage_seconds",
    help: "Time in each stage of the pipe: per item for fetch, decode, reuse and engine, per chunk for read and write, per batch for the others.",
    labelNames: ["stage"],
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300],
    registers,
  });
  const chunks = new Gauge({ name: "flamboyance_chunks_running", help: "Chunks in this worker's hands.", registers });
  const rowsPerRun = new Histogram({
    name: "flamboyance_engine_rows_per_run",
    help: "Rows that ran through the decoder together, per run.",
    labelNames: ["model"],
    buckets: [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128],
    registers,
  });
  const engineSeconds = new Gauge({
    name: "flamboyance_engine_seconds",
    help: "Where the engine's time went since it was opened.",
    labelNames: ["model", "stage"],
    registers,
  });
  const newTokens = new Gauge({
    name: "flamboyance_engine_new_tokens",
    help: "Tokens generated since the engine was opened.",
    labelNames: ["model"],
    registers,
  });
  const cacheBytes = new Gauge({
    name: "flamboyance_engine_cache_bytes",
    help: "What the engine keeps for further rows: encoded images, few-shot prefixes.",
    labelNames: ["model", "cache"],
    registers,
  });
  const cacheLookups = new Gauge({
    name: "flamboyance_engine_cache_lookups",
    help: "Images and prefixes that rows asked for since the engine was opened: hit, or computed.",
    labelNames: ["model", "cache", "result"],
    registers,
  });
  const lookups = new Counter({
    name: "flamboyance_reuse_lookups_total",
    help: "Answers looked for in earlier batches' results: hit, miss, and faults on the way.",
    labelNames: ["result"],
    registers,
  });
  // All at 0 while nobody asks: a share of nothing is no figure.
  for (const result of ["hit", "miss", "fault"]) lookups.inc({ result }, 0);
  const repairs = new Counter({
    name: "flamboyance_repairs_total",
    help: "What reconcile mended, by kind.",
    labelNames: ["kind"],
    registers,
  });
  const served = new Gauge({ name: "flamboyance_models_served", help: "Models that this worker has open.", registers });
  const queued = new Gauge({
    name: "flamboyance_queue_jobs",
    help: "Jobs in the queues, by kind, model key and state.",
    labelNames: ["kind", "model_key", "state"],
    registers: [],
    async collect() {
      // A scrape must answer though Redis doesn't.
      const found = await depths().catch(() => []);
      this.reset();
      for (const { kind, model: model_key = "", ready, running } of found) {
        this.set({ kind, model_key, state: "ready" }, ready);
        this.set({ kind, model_key, state: "running" }, running);
      }
    },
  });

  registry.registerMetric(queued);

  const seen = new Map<string, ModelStats["rowsPerStep"]>();
  return {
    registry,
    item: (model, code) => items.inc({ model, outcome: code === "ok" ? "ok" : "failed", code }),
    job: (kind, result) => jobs.inc({ kind, result }),
    time: async (stage, work) => {
      const end = stages.startTimer({ stage });
      try {
        return await work();
      } finally {
        end();
      }
    },
    chunkStarted: () => chunks.inc(),
    chunkEnded: () => chunks.dec(),
    engine: (model, stats) => {
      const before = seen.get(model) ?? {};
      seen.set(model, stats.rowsPerStep);
      for (const [rows, steps] of Object.entries(stats.rowsPerStep)) {
        // A restarted engine counts from 0 again.
        const earlier = before[Number(rows)] ?? 0;
        const fresh = steps >= earlier ? steps - earlier : steps;
        for (let step = 0; step < fresh; step++) rowsPerRun.observe({ model }, Number(rows));
      }
      for (const [stage, seconds] of Object.entries(stats.seconds)) engineSeconds.set({ model, stage }, seconds);
      newTokens.set({ model }, stats.newTokens);
      const { media, prefixes } = stats;
      for (const [cache, { computed, hits, bytes }] of [
        ["images", { ...media, computed: media.encoded }],
        ["prefixes", { ...prefixes, computed: prefixes.prefilled }],
      ] as const) {
        cacheBytes.set({ model, cache }, bytes);
        cacheLookups.set({ model, cache, result: "hit" }, hits);
        cacheLookups.set({ model, cache, result: "computed" }, computed);
      }
    },
    reuse: (result) => lookups.inc({ result }),
    repaired: (kind) => repairs.inc({ kind }),
    modelsServed: (count) => served.set(count),
  };
}
