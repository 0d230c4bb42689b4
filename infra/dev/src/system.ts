/**
 * A whole Flamboyance on one machine: Redis, S3, the api and workers, as real processes, on loopback.
 * Owns their ports, environments, logs and ends; refuses any knowledge of batches.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { eraseQueue } from "@flamboyance/queue";
import { startApplication, type Application } from "./application.ts";
import { portOrFree } from "./port.ts";
import { useRedis } from "./redis.ts";
import { startS3Server } from "./s3/server.ts";

export interface S3Address {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface SystemOptions {
  /** Everything that the system writes lies here: Redis's files, S3's objects, logs, model caches. */
  readonly folder: string;
  /** Wanted ports; a taken one, or none, becomes a free one. */
  readonly ports?: { readonly api?: number; readonly s3?: number; readonly redis?: number };
  /** An S3 that runs already; without it the development server is started. */
  readonly s3?: S3Address;
  /** A Redis that runs already, as tests lose one; without it that of REDIS_URL is taken, or one of our own. */
  readonly redis?: { readonly url: string };
  readonly workers?: number;
  /** Further environment of api and workers. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface System {
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly redis: { readonly url: string; readonly prefix: string };
  readonly s3: S3Address;
  readonly api: Application;
  readonly workers: readonly Application[];
  /** One more worker, ready when this resolves. */
  addWorker(environment?: Readonly<Record<string, string>>): Promise<Application>;
  /** Ends the api, where it still runs, and starts it again on its port. */
  restartApi(): Promise<Application>;
  /** Ends everything that it started, the last started first. Safe to call twice. */
  close(): Promise<void>;
}

/** The bucket that the service keeps its own objects in; `prepare` makes it. */
export const serviceBucket = "flamboyance";

/**
 * Redis and S3 first; `prepare` then fills S3 (buckets, models) before the workers and the api start.
 * Whatever was started is ended again where a later step fails.
 */
export async function startSystem(options: SystemOptions, prepare: (s3: S3Address) => Promise<void>): Promise<System> {
  const started: { close(): Promise<void> }[] = [];
  const close = async () => {
    for (let last = started.pop(); last !== undefined; last = started.pop()) await last.close();
  };
  try {
    const folder = resolve(options.folder);
    await mkdir(folder, { recursive: true });
    const redis =
      options.redis === undefined
        ? await useRedis({ folder: join(folder, "redis"), port: await portOrFree(options.ports?.redis) })
        : { ...options.redis, close: () => Promise.resolve() };
    // In a Redis that others use too, everything of ours is under one prefix, and goes with us; from one that is gone it went by itself.
    const prefix = `flamboyance-${randomBytes(4).toString("hex")}`;
    const leaveRedis = async () => {
      await eraseQueue({ url: redis.url, prefix }).catch(() => undefined);
      await redis.close();
    };
    started.push({ close: leaveRedis });
    const s3 = options.s3 ?? (await startOwnS3(folder, await portOrFree(options.ports?.s3), started));
    await prepare(s3);

    const apiKey = `fb-${randomBytes(24).toString("base64url")}`;
    const keys = [{ tenant: "demo", name: "demo", sha256: createHash("sha256").update(apiKey).digest("hex"), buckets: ["*"] }];
    const environment = {
      REDIS_URL: redis.url,
      FLAMBOYANCE_REDIS_PREFIX: prefix,
      FLAMBOYANCE_S3_ENDPOINT: s3.endpoint,
      FLAMBOYANCE_S3_REGION: s3.region,
      FLAMBOYANCE_S3_PATH_STYLE: "true",
      FLAMBOYANCE_BUCKET: serviceBucket,
      FLAMBOYANCE_KEYS: JSON.stringify(keys),
      FLAMBOYANCE_MODEL_CACHE: join(folder, "models"),
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      ...options.environment,
    };
    const start = async (name: string, main: string, port: number, further: Readonly<Record<string, string>>) => {
      const application = await startApplication({ name, main, port, folder, environment: { ...environment, ...further } });
      started.push(application);
      return application;
    };
    const workers: Application[] = [];
    const addWorker = async (further: Readonly<Record<string, string>> = {}) => {
      const port = Number(further["FLAMBOYANCE_METRICS_PORT"] ?? (await portOrFree()));
      const own = { FLAMBOYANCE_METRICS_PORT: String(port), ...further };
      const worker = await start(`worker-${workers.length + 1}`, "apps/worker/src/main.ts", port, own);
      workers.push(worker);
      return worker;
    };
    for (let i = 0; i < (options.workers ?? 1); i++) await addWorker();
    const port = await portOrFree(options.ports?.api);
    const startApi = () => start("api", "apps/api/src/main.ts", port, { FLAMBOYANCE_HOST: "127.0.0.1", FLAMBOYANCE_PORT: String(port) });
    const api = await startApi();
    let runningApi = api;
    const restartApi = async () => {
      await runningApi.close();
      return (runningApi = await startApi());
    };
    return { apiUrl: api.url, apiKey, redis: { url: redis.url, prefix }, s3, api, workers, addWorker, restartApi, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startOwnS3(folder: string, port: number, started: { close(): Promise<void> }[]): Promise<S3Address> {
  const credentials = { accessKeyId: "demo", secretAccessKey: randomBytes(18).toString("base64url") };
  const server = await startS3Server({ folder: join(folder, "s3"), port, ...credentials });
  started.push(server);
  return { endpoint: server.endpoint, region: "us-east-1", ...credentials };
}
