/**
 * The BullMQ jobs: plan, chunk, finalize. Owns queue names, job ids, retries and locks; nothing else imports bullmq.
 * A job carries no data: its id says it all. Plan and finalize jobs are named by their batch, so adding one twice adds one; chunk jobs by
 * batch, chunk and dispatch number. Jobs vanish when done: an id that still stands is silently ignored by `add`.
 */
import { ErrorCode, Queue as BullQueue } from "bullmq";
import type { Redis } from "ioredis";
import { reached, unavailable } from "./connect.ts";
import type { HandOut } from "./answers.ts";
import type { Depth } from "./queue.ts";

export type JobKind = "plan" | "finalize" | "chunk";

/** A plan or finalize job names its batch; a chunk job its chunk and the number that it was handed out under as well. */
export type Job = { readonly id: string; readonly chunk: number; readonly dispatch: number };

/** The queues, to add to and look into. One for plan, one for finalize, one a model key for chunks. */
export interface Jobs {
  /** `turn`: among those that wait, the lowest goes first; without one it goes before them all, in the order of adding. */
  addBatchJob(kind: "plan" | "finalize", id: string, turn?: number): Promise<void>;
  addChunks(model: string, handOuts: readonly HandOut[]): Promise<void>;
  /** Of the hash of the batch's job. */
  batchJobKey(kind: "plan" | "finalize", id: string): string;
  /** BullMQ's list of the model's waiting jobs. */
  waitKey(model: string): string;
  /** BullMQ's sets of the plan jobs that wait for their turn, and of those that wait to be tried again. */
  planKeys(): { readonly waiting: string; readonly delayed: string };
  /** What precedes a chunk job's id in the key of its hash. */
  jobPrefix(model: string): string;
  /** Jobs whose next try is due before `beforeMs` or after `afterMs` (Unix ms) wait no longer. How many of the latter. */
  promoteDelayed(
    models: readonly string[],
    due: { readonly beforeMs: number; readonly afterMs: number },
    signal: AbortSignal,
  ): Promise<number>;
  depths(models: readonly string[]): Promise<Depth[]>;
  close(): Promise<void>;
}

export function openJobs(redis: Redis, prefix: string): Jobs {
  const queues = new Map<string, BullQueue>();
  const queueOf = (kind: JobKind, model?: string): BullQueue => {
    const name = queueName(kind, model);
    const known = queues.get(name);
    if (known !== undefined) return known;
    const queue = new BullQueue(name, { connection: redis, prefix, streams: { events: { maxLen: 1_000 } } });
    queue.on("error", () => {});
    queues.set(name, queue);
    return queue;
  };
  const depth = async (kind: JobKind, model?: string): Promise<Depth> => {
    const counts = await reached(queueOf(kind, model).getJobCounts("waiting", "delayed", "prioritized", "active"));
    const ready = (counts["waiting"] ?? 0) + (counts["delayed"] ?? 0) + (counts["prioritized"] ?? 0);
    return { kind, ...(model === undefined ? {} : { model }), ready, running: counts["active"] ?? 0 };
  };
  return {
    async addBatchJob(kind, id, turn) {
      await reached(queueOf(kind).add(kind, null, { ...jobOptions, jobId: id, ...(turn === undefined ? {} : { priority: turn }) }));
    },
    async addChunks(model, handOuts) {
      if (handOuts.length === 0) return;
      const jobs = handOuts.map((handOut) => ({ name: "chunk", data: null, opts: { ...jobOptions, jobId: chunkJobId(handOut) } }));
      await reached(queueOf("chunk", model).addBulk(jobs));
    },
    batchJobKey: (kind, id) => queueOf(kind).toKey(id),
    planKeys: () => ({ waiting: queueOf("plan").toKey("prioritized"), delayed: queueOf("plan").toKey("delayed") }),
    waitKey: (model) => queueOf("chunk", model).toKey("wait"),
    jobPrefix: (model) => queueOf("chunk", model).toKey(""),
    async promoteDelayed(models, { beforeMs, afterMs }, signal) {
      let putOff = 0;
      for (const queue of [queueOf("plan"), queueOf("finalize"), ...models.map((model) => queueOf("chunk", model))]) {
        const delayed = queue.toKey("delayed");
        const overdue = await reached(redis.zrangebyscore(delayed, "-inf", `(${beforeMs * delayedScorePerMs}`, ...promotedAtOnce));
        const late = await reached(redis.zrangebyscore(delayed, `(${afterMs * delayedScorePerMs}`, "+inf", ...promotedAtOnce));
        for (const jobId of overdue) if (!signal.aborted) await promote(queue, jobId);
        for (const jobId of late) if (!signal.aborted && (await promote(queue, jobId))) putOff += 1;
      }
      return putOff;
    },
    depths: (models) => Promise.all([depth("plan"), depth("finalize"), ...models.map((model) => depth("chunk", model))]),
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}

/** BullMQ's scores of delayed jobs (getDelayedScore, in its moveToDelayed): milliseconds, and a count within each. */
const delayedScorePerMs = 0x1000;
const promotedAtOnce = ["LIMIT", 0, 100] as const;

/** False where somebody else was first. */
async function promote(queue: BullQueue, jobId: string): Promise<boolean> {
  const job = await reached(queue.getJob(jobId));
  if (job === undefined) return false;
  try {
    await job.promote();
    return true;
  } catch (error) {
    // Looked at first: `unavailable` takes every error that isn't Redis's own reply for Redis being away.
    if (error instanceof Error && "code" in error && error.code === ErrorCode.JobNotInState) return false;
    throw unavailable(error);
  }
}

/** Of the queue that the key is part of: where BullMQ keeps ids of jobs. Null for a key that is no queue's. */
export function jobLists(prefix: string, key: string): string[] | null {
  const name = /^(?:plan|finalize|chunk-[^:]*)(?=:)/.exec(key.slice(prefix.length + 1))?.[0];
  return name === undefined ? null : lists.map((list) => `${prefix}:${name}:${list}`);
}

const lists = ["wait", "paused", "delayed", "prioritized", "active", "stalled", "waiting-children", "completed", "failed"];

export function queueName(kind: JobKind, model?: string): string {
  return kind === "chunk" ? `chunk-${model ?? ""}` : kind;
}

/** The job that an id names, by its queue's kind. */
export function parseJobId(kind: JobKind, jobId: string): Job {
  if (kind !== "chunk") return { id: jobId, chunk: 0, dispatch: 0 };
  const match = /^(?<id>.+)-(?<chunk>\d+)-(?<dispatch>\d+)$/.exec(jobId);
  if (match?.groups === undefined) throw new TypeError(`not a chunk job's id: ${jobId}`);
  const { id = "", chunk, dispatch } = match.groups;
  return { id, chunk: Number(chunk), dispatch: Number(dispatch) };
}

export function chunkJobId({ id, chunk, dispatch }: HandOut): string {
  return `${id}-${chunk}-${dispatch}`;
}

/** Tried again as long as its batch wants it: the deadline ends it, not a count. */
const jobOptions = {
  attempts: Number.MAX_SAFE_INTEGER,
  backoff: { type: "capped" },
  removeOnComplete: true,
  removeOnFail: true,
  stackTraceLimit: 1,
};
