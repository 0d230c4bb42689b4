/**
 * The worker's configuration: the only reader of its environment. Its variables stand in this one schema (Redis's and S3's come from their rooms),
 * from which `--help` is printed. Refuses to start on a missing or wrong one, with one line that names it.
 */
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { environmentTable, flag, logLevel, readEnvironment, type VariableRow, type Variables } from "@flamboyance/contracts";
import type { DeviceChoice } from "@flamboyance/model";
import { redisOf, redisVariables } from "@flamboyance/queue";
import { s3Of, s3Variables } from "@flamboyance/storage";
import { z } from "zod";

const seconds = z.coerce.number().min(0.05).max(86_400);
const count = z.coerce.number().int().min(1).max(10_000);
const bytes = z.coerce.number().int().min(1);
const gibibyte = 2 ** 30;
const names = z.string().transform((text) =>
  text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== ""),
);

const environment = z.object({
  FLAMBOYANCE_BUCKET: z.string().min(3).describe("The service's own bucket: batches, plans, parts, results, the model catalogue."),
  ...redisVariables.shape,
  ...s3Variables.shape,
  FLAMBOYANCE_MODELS: names
    .optional()
    .describe("Names of the catalogue's models that this worker serves, with commas. Unset: all of them."),
  FLAMBOYANCE_MODEL_CACHE: z
    .string()
    .min(1)
    .optional()
    .describe("Folder that models are copied to from S3. Unset: flamboyance-models in the system's folder for temporary files."),
  FLAMBOYANCE_MODEL_SECONDS: seconds.default(30).describe("How often the catalogue is looked at for new models."),
  FLAMBOYANCE_ENGINE: z
    .enum(["model", "none"])
    .default("model")
    .describe("model: runs the models. none: answers without one, for benchmarks and tests."),
  FLAMBOYANCE_ENGINE_GATE: z.url().optional().describe("engine none only: each row waits for an answer to GET <url>?row=<id>."),
  FLAMBOYANCE_ENGINE_THREADS: count.optional().describe("Threads of one run of a model. Unset: one per core."),
  FLAMBOYANCE_DEVICE: z
    .enum(["cpu", "webgpu", "auto"])
    .default("cpu")
    .describe(
      "Where models compute: cpu; webgpu: the GPU, for one fp32 model a worker, and no other is served; auto: the GPU where it is faster than the CPU and runs the model, else the CPU, with a line in the log.",
    ),
  FLAMBOYANCE_ENGINE_ROW_BYTES: bytes
    .default(2 * gibibyte)
    .describe("K and V of the rows that run together, for each model; further rows wait."),
  FLAMBOYANCE_ENGINE_CACHE_BYTES: bytes
    .default(gibibyte)
    .describe("Encoded images and few-shot prefixes kept for further rows, for each model: half for either."),
  FLAMBOYANCE_ENGINE_ROWS: count.default(64).describe("Items that are fetched, decoded or in the engine at once, over all chunks."),
  FLAMBOYANCE_CHUNKS: count
    .default(2)
    .describe("Chunks of one model that the worker holds at once; the second fills the tail of the first."),
  FLAMBOYANCE_FETCH_CONCURRENCY: count.default(16).describe("Images fetched at once."),
  FLAMBOYANCE_WEB_LOOPBACK: flag
    .default(false)
    .describe("For tests alone. true: https images may come from this machine's own addresses too, at any port."),
  FLAMBOYANCE_READ_AHEAD_BYTES: bytes
    .default(256 * 1024 * 1024)
    .describe("While fetched images that wait to be decoded hold as much as this, no further fetch starts."),
  FLAMBOYANCE_PIXEL_CACHE_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(256 * 1024 * 1024)
    .describe("Pixels kept for further items of the same batch that show the same image."),
  FLAMBOYANCE_REUSE_BYTES: z.coerce
    .number()
    .int()
    .min(1024 * 1024)
    .default(64 * 1024 * 1024)
    .describe("What is kept of earlier batches' results and their indexes, for batches with `reuse`."),
  FLAMBOYANCE_DECODE_THREADS: count.optional().describe("Threads that turn images into pixels. Unset: one less than cores, but one."),
  FLAMBOYANCE_DECODE_BYTES: bytes
    .default(gibibyte / 2)
    .describe(
      "While large images that are being decoded hold as much as this, no further one is; one that alone holds more is decoded alone.",
    ),
  FLAMBOYANCE_METRICS_HOST: z
    .string()
    .min(1)
    .default("127.0.0.1")
    .describe("Address of /metrics, /health and /ready; 0.0.0.0 in a container."),
  FLAMBOYANCE_METRICS_PORT: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .default(9464)
    .describe("Port of /metrics, /health and /ready; 0 takes a free one."),
  FLAMBOYANCE_SENTINEL_SECONDS: seconds.default(2).describe("How often it is looked whether Redis was lost; if so, it is rebuilt from S3."),
  FLAMBOYANCE_RECONCILE_SECONDS: seconds.default(15).describe("How often what a crash left half done is looked for."),
  FLAMBOYANCE_FRONTIER_SECONDS: seconds.default(3).describe("How often the results so far are made readable."),
  FLAMBOYANCE_STOP_SECONDS: seconds.default(1).describe("How often running batches are looked at for a cancel or a passed deadline."),
  FLAMBOYANCE_LOCK_SECONDS: seconds.default(30).describe("How long a job stays a silent worker's own."),
  FLAMBOYANCE_QUIET_SECONDS: seconds
    .default(60)
    .describe("How long a cancelled or expired batch waits for its running chunks before it is sealed."),
  FLAMBOYANCE_DRAIN_SECONDS: seconds
    .default(20)
    .describe("How long running chunks may still finish after SIGTERM before they are handed back."),
  FLAMBOYANCE_SWEEP_SECONDS: seconds
    .default(3_600)
    .describe("How long what an ended batch left behind stays before it is taken away; at least as long as a lock."),
  FLAMBOYANCE_RETENTION_DAYS: z.coerce
    .number()
    .min(0)
    .max(36_500)
    .default(30)
    .describe("How long an ended batch, its results too, is kept in the service's bucket; then it is deleted. 0 keeps all for ever."),
  FLAMBOYANCE_FAILPOINTS: z
    .url()
    .optional()
    .describe(
      "For tests: each writing step and each image waits for an answer to GET <url>?point=<step>&about=<batch, key or hash>&pid=<process>. Unset: nothing asks.",
    ),
  FLAMBOYANCE_LOG_LEVEL: logLevel,
});

/** Where one model computes, and how much of the machine it may take. */
export interface EngineSettings {
  readonly device: DeviceChoice;
  /** Threads of one run. */
  readonly threads: number;
  readonly rowBytes: number;
  readonly cacheBytes: number;
}

export interface Config {
  readonly bucket: string;
  readonly redis: ReturnType<typeof redisOf>;
  readonly s3: ReturnType<typeof s3Of>;
  /** Null: every model of the catalogue. */
  readonly models: readonly string[] | null;
  readonly modelCache: string;
  readonly modelMs: number;
  readonly engine: ({ readonly kind: "model" } & EngineSettings) | { readonly kind: "none"; readonly gate: string | null };
  readonly engineRows: number;
  readonly chunksAtOnce: number;
  readonly fetchConcurrency: number;
  /** Folder of the keys to tenants' own buckets. */
  readonly bucketSecrets: string | null;
  readonly webLoopback: boolean;
  readonly readAheadBytes: number;
  readonly pixelCacheBytes: number;
  readonly reuseBytes: number;
  readonly decodeThreads: number;
  readonly decodeBytes: number;
  readonly metrics: { readonly host: string; readonly port: number };
  readonly sentinelMs: number;
  readonly reconcileMs: number;
  readonly frontierMs: number;
  readonly stopMs: number;
  readonly lockMs: number;
  readonly quietMs: number;
  readonly drainMs: number;
  readonly sweepMs: number;
  /** Null: for ever. */
  readonly keptMs: number | null;
  readonly failpoints: string | null;
  readonly logLevel: string;
}

/** Parses an environment; throws configuration_invalid, whose `param` is the variable. */
export function readConfig(variables: Variables): Config {
  const value = readEnvironment(environment, variables);
  return {
    bucket: value.FLAMBOYANCE_BUCKET,
    redis: redisOf(value),
    s3: s3Of(value),
    models: value.FLAMBOYANCE_MODELS ?? null,
    modelCache: value.FLAMBOYANCE_MODEL_CACHE ?? join(tmpdir(), "flamboyance-models"),
    modelMs: value.FLAMBOYANCE_MODEL_SECONDS * 1_000,
    engine:
      value.FLAMBOYANCE_ENGINE === "model"
        ? {
            kind: "model",
            device: value.FLAMBOYANCE_DEVICE,
            threads: value.FLAMBOYANCE_ENGINE_THREADS ?? availableParallelism(),
            rowBytes: value.FLAMBOYANCE_ENGINE_ROW_BYTES,
            cacheBytes: value.FLAMBOYANCE_ENGINE_CACHE_BYTES,
          }
        : { kind: "none", gate: value.FLAMBOYANCE_ENGINE_GATE ?? null },
    engineRows: value.FLAMBOYANCE_ENGINE_ROWS,
    chunksAtOnce: value.FLAMBOYANCE_CHUNKS,
    fetchConcurrency: value.FLAMBOYANCE_FETCH_CONCURRENCY,
    bucketSecrets: value.FLAMBOYANCE_BUCKET_CREDENTIALS ?? null,
    webLoopback: value.FLAMBOYANCE_WEB_LOOPBACK,
    readAheadBytes: value.FLAMBOYANCE_READ_AHEAD_BYTES,
    pixelCacheBytes: value.FLAMBOYANCE_PIXEL_CACHE_BYTES,
    reuseBytes: value.FLAMBOYANCE_REUSE_BYTES,
    decodeThreads: value.FLAMBOYANCE_DECODE_THREADS ?? Math.max(1, availableParallelism() - 1),
    decodeBytes: value.FLAMBOYANCE_DECODE_BYTES,
    metrics: { host: value.FLAMBOYANCE_METRICS_HOST, port: value.FLAMBOYANCE_METRICS_PORT },
    sentinelMs: value.FLAMBOYANCE_SENTINEL_SECONDS * 1_000,
    reconcileMs: value.FLAMBOYANCE_RECONCILE_SECONDS * 1_000,
    frontierMs: value.FLAMBOYANCE_FRONTIER_SECONDS * 1_000,
    stopMs: value.FLAMBOYANCE_STOP_SECONDS * 1_000,
    lockMs: value.FLAMBOYANCE_LOCK_SECONDS * 1_000,
    quietMs: value.FLAMBOYANCE_QUIET_SECONDS * 1_000,
    drainMs: value.FLAMBOYANCE_DRAIN_SECONDS * 1_000,
    // What a live worker wrote and didn't record yet looks like a left-over.
    sweepMs: Math.max(value.FLAMBOYANCE_SWEEP_SECONDS, value.FLAMBOYANCE_LOCK_SECONDS) * 1_000,
    keptMs: value.FLAMBOYANCE_RETENTION_DAYS === 0 ? null : value.FLAMBOYANCE_RETENTION_DAYS * 86_400_000,
    failpoints: value.FLAMBOYANCE_FAILPOINTS ?? null,
    logLevel: value.FLAMBOYANCE_LOG_LEVEL,
  };
}

/** The environment of this process. */
export function readProcessConfig(): Config {
  return readConfig(process.env);
}

/** Every variable with its default and meaning, for `--help` and the documents. */
export function configurationTable(): VariableRow[] {
  return environmentTable(environment);
}
