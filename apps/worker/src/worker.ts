/**
 * A worker: consumes plan, chunk and finalize jobs, repairs, and tells how it is. Owns the start and, mirrored, the end of everything in the process.
 * Refuses to exit it: that is main's.
 */
import { newDeviceClaims } from "@flamboyance/model";
import { newUlid, openQueue, type Handler, type Job, type JobKind, type Queue } from "@flamboyance/queue";
import { openBuckets, openStorage } from "@flamboyance/storage";
import { runChunk } from "./chunk.ts";
import type { Config } from "./config.ts";
import { openDecoder } from "./decode.ts";
import { openEngine } from "./engine.ts";
import { runFinalize } from "./finalize.ts";
import { trackFrontiers } from "./frontier.ts";
import { Gate } from "./gate.ts";
import { withFailpoints } from "./failpoints.ts";
import { failure, openLog, type Log } from "./log.ts";
import { startMetricsServer } from "./metrics-server.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { openNoOpEngine } from "./no-op-engine.ts";
import { holdOpenBatches } from "./open-batches.ts";
import { openPixelCache } from "./pixel-cache.ts";
import { runPlan } from "./plan.ts";
import { Rates } from "./rates.ts";
import { openReadAhead } from "./read-ahead.ts";
import { rebuildLost } from "./rebuild.ts";
import { openReconciler } from "./reconcile.ts";
import { repeat } from "./repeat.ts";
import { openLenders } from "./reuse/lenders.ts";
import { openServedModels, type ServedModels } from "./served-models.ts";
import { inRoom, Solitude } from "./solitude.ts";
import { startStopWatch } from "./stop-watch.ts";
import { openWebImages } from "./web-image.ts";

export interface RunningWorker {
  readonly log: Log;
  readonly port: number;
  /** Takes no more jobs, gives running ones their time, hands the rest back, closes everything. */
  close(): Promise<void>;
}

/** Frames under way at once, of all rows: their pixels are held until the engine has them, so videos of many frames have fewer rows. */
const framesPerRow = 8;

/** Plans and finalizes of large batches have slots of their own: neither waits for chunks. */
const planSlots = 2;
const finalizeSlots = 2;

export async function startWorker(config: Config): Promise<RunningWorker> {
  const worker = newUlid();
  const log = openLog({ level: config.logLevel, worker });
  // Known once it has all started; until then /ready says what is waited for.
  let started: { readonly queue: Queue; readonly models: ServedModels } | null = null;
  let waitsFor: string | null = "Redis isn't reached yet";
  const metrics = createMetrics(() => started?.queue.depths() ?? Promise.resolve([]));
  // First of all: whoever probes learns that the process lives, and a port that is taken ends it before anything is opened.
  const server = await startMetricsServer({
    ...config.metrics,
    registry: metrics.registry,
    collect: () => started?.models.collect() ?? Promise.resolve(),
    notReady: async () => {
      if (waitsFor !== null || started === null) return waitsFor;
      if (started.models.keys().length === 0) return "no model is open";
      return (await started.queue.ping()) ? null : "Redis doesn't answer";
    },
  });
  const opened = await openQueue({
    url: config.redis.url,
    prefix: config.redis.prefix,
    lockMs: config.lockMs,
    stalledIntervalMs: config.lockMs / 2,
    graceMs: config.lockMs,
    quietMs: config.quietMs,
    retryCapMs: Math.min(30_000, config.lockMs),
    onFault: (error) => log.warn(failure(error), "the queue met a fault"),
  });
  const s3 = { ...config.s3, maxSockets: config.fetchConcurrency + 32 };
  const { queue, storage, decoder } = withFailpoints(
    {
      queue: opened,
      storage: openStorage(s3),
      decoder: openDecoder({ threads: config.decodeThreads, maxBytes: config.decodeBytes }),
    },
    config.failpoints,
  );
  const buckets = openBuckets({ storage, defaults: s3, secrets: config.bucketSecrets });
  const web = openWebImages({ loopback: config.webLoopback });
  const stops = startStopWatch(queue);
  const frontiers = trackFrontiers({ storage, queue, serviceBucket: config.bucket });
  // First no new work, then, when the running work has ended, nothing at all.
  const closing = new AbortController();
  const stopped = new AbortController();
  const shared = { worker, storage, buckets, web, queue, serviceBucket: config.bucket, decoder, metrics, stops, frontiers };
  const rooms = { plans: new Solitude(), chunks: new Solitude(), finalizes: new Solitude() };
  const rates = new Rates();
  const chunks = {
    ...shared,
    batches: holdOpenBatches({ storage, bucket: config.bucket, decoder, signal: stopped.signal }),
    itemGate: new Gate({ holders: config.engineRows, weight: config.engineRows * framesPerRow }),
    solitude: rooms.chunks,
    readAhead: openReadAhead({ slots: config.fetchConcurrency, maxBytes: config.readAheadBytes }),
    pixelCache: openPixelCache({ maxBytes: config.pixelCacheBytes }),
    lenders: openLenders({ storage, bucket: config.bucket, metrics, maxBytes: config.reuseBytes, signal: stopped.signal }),
    rates,
  };
  const claims = newDeviceClaims();
  const handle = (kind: JobKind, run: Handler) => watched(kind, run, metrics, log);

  const models = openServedModels({
    storage,
    bucket: config.bucket,
    cache: config.modelCache,
    names: config.models,
    metrics,
    log,
    open: (folder) =>
      config.engine.kind === "none"
        ? Promise.resolve(openNoOpEngine(config.engine))
        : openEngine({
            folder,
            sizes: config.engine,
            claims,
            onFallback: (why) => log.warn({ folder, why }, "no device: the model runs on the CPU"),
          }),
    consume: (key, model) =>
      queue.consume(
        { kind: "chunk", model: key, concurrency: config.chunksAtOnce },
        handle("chunk", async (job, signal) => {
          metrics.chunkStarted();
          rates.chunkStarted(key);
          try {
            return await runChunk(chunks, model, job, signal);
          } finally {
            metrics.chunkEnded();
            rates.chunkEnded(key);
            // A slot is free: the queue may take another chunk.
            await queue.dispatch(key).catch((error: unknown) => log.warn(failure(error), "dispatch failed"));
          }
        }),
      ),
    withdraw: (key) => queue.withdraw(worker, key),
    isWanted: (key) => isWanted(queue, key),
  });

  const repairing = { storage, queue, serviceBucket: config.bucket, metrics, log, rebuildLeaseMs: Math.max(5_000, config.lockMs) };
  const reconciler = openReconciler({
    ...repairing,
    leaseMs: Math.max(5_000, 2 * config.reconcileMs),
    sweepMs: config.sweepMs,
    keptMs: config.keptMs,
  });
  waitsFor = "what Redis doesn't hold is being rebuilt from S3";
  // An S3 that is away now is asked again in the rounds below.
  await rebuildLost(repairing, closing.signal).catch((error: unknown) => log.warn(failure(error), "Redis can't be rebuilt yet"));
  started = { queue, models };
  waitsFor = "the catalogue's models are being opened";
  // An S3 that is away now is asked again; until then the worker isn't ready.
  await models.refresh(closing.signal).catch((error: unknown) => log.warn(failure(error), "the catalogue can't be read"));
  await announce(queue, { worker, models, rates }, config).catch((error: unknown) =>
    log.warn(failure(error), "nothing can be handed out yet"),
  );
  const plans = queue.consume(
    { kind: "plan", concurrency: planSlots },
    handle("plan", ({ id }, signal) => metrics.time("plan", () => runPlan({ ...shared, rooms }, id, signal))),
  );
  const finalizes = queue.consume(
    { kind: "finalize", concurrency: finalizeSlots },
    handle("finalize", ({ id }, signal) => inRoom(rooms.finalizes, signal, () => runFinalize(shared, id, signal))),
  );

  const every = (what: string, everyMs: number, signal: AbortSignal, round: () => Promise<void>) =>
    repeat({ everyMs, signal, onFailure: (error) => log.warn({ what, ...failure(error) }, "a round failed") }, round);
  const rounds = [
    every("sentinel", config.sentinelMs, closing.signal, async () => {
      // What was rebuilt has no jobs yet.
      if (await rebuildLost(repairing, closing.signal)) await reconciler.round(closing.signal);
    }),
    every("reconcile", config.reconcileMs, closing.signal, () => reconciler.round(closing.signal)),
    every("models", config.modelMs, closing.signal, () => models.refresh(closing.signal)),
    every("announce", config.lockMs / 6, closing.signal, () => announce(queue, { worker, models, rates }, config)),
    // These go on while running chunks finish.
    every("stops", config.stopMs, stopped.signal, () => stops.look()),
    every("frontiers", config.frontierMs, stopped.signal, () => frontiers.advance(stopped.signal)),
  ];
  waitsFor = null;
  log.info({ port: server.port, models: models.keys().length }, "ready");

  return {
    log,
    port: server.port,
    close: async () => {
      log.info("closing");
      waitsFor = "shutting down";
      closing.abort(new Error("the worker is closing"));
      await queue.withdraw(worker).catch(() => {});
      const drain = { drainMs: config.drainMs };
      await Promise.all([plans.close(drain), finalizes.close(drain), models.stop(config.drainMs)]);
      stopped.abort(new Error("the worker is closing"));
      await Promise.all(rounds);
      await server.close();
      await models.close();
      await decoder.close();
      await queue.close();
      web.close();
      buckets.close();
      storage.close();
      log.info("closed");
    },
  };
}

async function announce(
  queue: Queue,
  { worker, models, rates }: { readonly worker: string; readonly models: ServedModels; readonly rates: Rates },
  config: Config,
): Promise<void> {
  // Forgotten before a job's lock ends, which is renewed at half its time: whoever takes over a dead worker's job finds it silent, too.
  const ttlMs = config.lockMs / 2;
  await queue.announcePlanner(worker, ttlMs);
  for (const model of models.keys()) {
    // Lost meanwhile, and its announcement withdrawn.
    if (!models.keys().includes(model)) continue;
    await queue.announce({ worker, model, slots: config.chunksAtOnce, itemsPerSecond: rates.perSecond(model) }, ttlMs);
    await queue.dispatch(model);
  }
}

/** Whether a batch that isn't settled names the model. */
async function isWanted(queue: Queue, model: string): Promise<boolean> {
  for await (const id of queue.openBatches()) {
    if ((await queue.batch(id))?.model.key === model) return true;
  }
  return false;
}

/** Counts and logs what becomes of each job. */
function watched(kind: JobKind, run: Handler, metrics: Metrics, log: Log): Handler {
  return async (job: Job, signal: AbortSignal) => {
    try {
      const result = await run(job, signal);
      metrics.job(kind, result === "done" ? "done" : "handed_back");
      return result;
    } catch (error) {
      metrics.job(kind, "failed");
      log.warn({ kind, batch: job.id, chunk: job.chunk, ...failure(error) }, "a job failed and will be tried again");
      throw error;
    }
  };
}
