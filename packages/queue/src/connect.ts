/**
 * Connections to Redis: how they come about, how long a command may wait, and what a fault of theirs means.
 * Owns ioredis's options; everything that fails on the way to Redis or because Redis isn't fit to serve becomes `service_unavailable`.
 */
import { CodedError } from "@flamboyance/contracts";
import { Redis, type RedisOptions } from "ioredis";

const connectMs = 5_000;
const commandTimeoutMs = 10_000;
const retryCapMs = 1_000;

/** For scripts and reads: a command fails after some tries, so that a request is answered. */
export async function connect(url: string, signal?: AbortSignal): Promise<Redis> {
  const redis = open(url, { maxRetriesPerRequest: 4, commandTimeout: commandTimeoutMs });
  try {
    await ready(redis, signal);
    return redis;
  } catch (error) {
    redis.disconnect();
    throw unavailable(error);
  }
}

/** For BullMQ's workers: their blocking reads wait for Redis to come back. */
export function openPatient(url: string): Redis {
  return open(url, { maxRetriesPerRequest: null });
}

/** The error as the door throws it. Redis's own error codes are the first word of its replies. */
export function unavailable(error: unknown): unknown {
  if (error instanceof CodedError) return error;
  if (!(error instanceof Error)) return error;
  const unfit = error.name !== "ReplyError" || unfitReplies.has(error.message.split(" ", 1)[0] ?? "");
  return unfit ? new CodedError("service_unavailable", "Redis doesn't answer.", { cause: error }) : error;
}

/** A pipeline's replies; the first fault is thrown. */
export async function replies(pipeline: ReturnType<Redis["pipeline"]>): Promise<unknown[]> {
  const results = (await reached(pipeline.exec())) ?? [];
  return results.map(([error, reply]) => {
    if (error !== null) throw unavailable(error);
    return reply;
  });
}

export async function reached<Reply>(reply: Promise<Reply>): Promise<Reply> {
  try {
    return await reply;
  } catch (error) {
    throw unavailable(error);
  }
}

const unfitReplies = new Set(["LOADING", "READONLY", "OOM", "MISCONF", "MASTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN", "CLUSTERDOWN"]);

function open(url: string, options: Pick<RedisOptions, "maxRetriesPerRequest" | "commandTimeout">): Redis {
  const retryStrategy = (times: number): number => Math.min(times * 50, retryCapMs);
  const redis = new Redis(url, { ...options, retryStrategy });
  // Faults reach the caller through its command; without a listener ioredis prints them.
  redis.on("error", () => {});
  return redis;
}

async function ready(redis: Redis, signal: AbortSignal | undefined): Promise<void> {
  const limit = AbortSignal.timeout(connectMs);
  const either = signal === undefined ? limit : AbortSignal.any([signal, limit]);
  await new Promise<void>((resolve, reject) => {
    either.addEventListener("abort", () => reject(new Error("no connection in time", { cause: either.reason })), { once: true });
    redis.ping().then(() => resolve(), reject);
  });
}
