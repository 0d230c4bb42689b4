/** Opens the queue on one Redis: connections, scripts, jobs. Owns their lifetimes. */
import { batchesOf } from "./batches.ts";
import { chunksOf } from "./chunks.ts";
import { connect, openPatient, reached } from "./connect.ts";
import { openConsumer, type Consumer } from "./consume.ts";
import { endingOf } from "./ending.ts";
import { openJobs } from "./jobs.ts";
import { partsOf } from "./parts.ts";
import type { Queue } from "./queue.ts";
import { rebuildOf } from "./rebuild.ts";
import { repairOf } from "./repair.ts";
import { scriptRunner } from "./script.ts";
import { believedOf } from "./sentinel.ts";
import { workersOf } from "./workers.ts";

export interface QueueOptions {
  readonly url: string;
  /** Every key begins with it. Default `flamboyance`. */
  readonly prefix?: string;
  /** Gives up the connecting. */
  readonly signal?: AbortSignal;
  /** How long a job stays with a silent consumer. The same in every process. Default 30 s. */
  readonly lockMs?: number;
  /** How often silent consumers are looked for. The same in every process. Default 15 s. */
  readonly stalledIntervalMs?: number;
  /** How long a seal waits for running chunks after a cancel or the deadline. Default 60 s. */
  readonly quietMs?: number;
  /** How long a chunk may be handed out without a job before it is handed out again, and how far from its time a job may wait for its next try. Default 30 s. */
  readonly graceMs?: number;
  /** Longest wait between two tries of a job whose handler threw. The same in every process. Default 30 s. */
  readonly retryCapMs?: number;
  /** Hears of what no caller waits for: a consumer's lost lock, Redis away. Default: nobody. */
  readonly onFault?: (error: unknown) => void;
}

/** Connects; throws CodedError `service_unavailable` where Redis doesn't answer within 5 s. */
export async function openQueue(options: QueueOptions): Promise<Queue> {
  const { url, prefix = "flamboyance", lockMs = 30_000, stalledIntervalMs = 15_000, quietMs = 60_000, graceMs = 30_000 } = options;
  const { retryCapMs = 30_000, onFault = () => {} } = options;

  const redis = await connect(url, options.signal);
  const run = scriptRunner(redis, prefix);
  const jobs = openJobs(redis, prefix);
  const consumers = new Set<Consumer>();
  const patient = openPatient(url);
  const disconnect = async (): Promise<void> => {
    await jobs.close();
    redis.disconnect();
    patient.disconnect();
  };

  const believed = believedOf({ redis, prefix });
  const batches = batchesOf({ redis, prefix, run, jobs, believed });
  const ending = endingOf({ run, jobs, quietMs });
  const workers = workersOf({ redis, prefix, run });
  return {
    ...batches,
    ...chunksOf({ redis, prefix, run, jobs, batch: batches.batch }),
    ...partsOf({ redis, prefix, run, batch: batches.batch }),
    ...ending,
    ...workers,
    repair: repairOf({ run, jobs, graceMs, batch: batches.batch, expire: ending.expire, seal: ending.seal }),
    believed,
    ...rebuildOf({ redis, prefix, run }),
    consume(consumeOptions, handler) {
      const onClosed = (): void => void consumers.delete(consumer);
      const settings = { connection: patient, prefix, lockMs, stalledIntervalMs, retryCapMs, onFault, onClosed };
      const consumer: Consumer = openConsumer(consumeOptions, handler, settings);
      consumers.add(consumer);
      return consumer;
    },
    async promoteDelayed(signal) {
      const models = await workers.models();
      const [seconds, microseconds] = (await reached(redis.time())).map(Number);
      const nowMs = 1_000 * (seconds ?? 0) + Math.floor((microseconds ?? 0) / 1_000);
      return jobs.promoteDelayed(models, { beforeMs: nowMs - graceMs, afterMs: nowMs + retryCapMs + graceMs }, signal);
    },
    now: async () => Number((await reached(redis.time()))[0]),
    depths: async () => jobs.depths(await workers.models()),
    ping: () =>
      redis.ping().then(
        () => true,
        () => false,
      ),
    async close() {
      await Promise.all([...consumers].map((consumer) => consumer.close()));
      await disconnect();
    },
  };
}
