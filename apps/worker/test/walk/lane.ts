/**
 * A Redis database of its own, and hands to do with it what time, BullMQ and accidents do: jobs are taken and given back, leases run out, all is lost.
 * Owns BullMQ's keys as far as a job's life goes; the service's own are the queue's.
 */
import { openQueue, type JobKind, type Queue } from "@flamboyance/queue";
import { Redis } from "ioredis";

export interface Lane {
  readonly queue: Queue;
  readonly raw: Redis;
  /** Takes a waiting job of this queue; null where none waits. */
  take(kind: JobKind, model: string): Promise<string | null>;
  /** The job is gone. */
  finish(kind: JobKind, model: string, jobId: string): Promise<void>;
  /** Its lock was lost, or its handler failed: it waits again, where it still stands. */
  giveBack(kind: JobKind, model: string, jobId: string): Promise<void>;
  /** Every lease runs out. */
  endLeases(): Promise<void>;
  setField(id: string, field: string, value: string | number): Promise<void>;
  /** The batch's deadline is long gone. A rebuild finds that of the request again, which is for a day. */
  passDeadline(id: string): Promise<void>;
  /** What the tenant's ended batches are said to keep, by id, and their sum. */
  stored(tenant: string): Promise<Readonly<Record<string, string>>>;
  /** All is gone. */
  lose(): Promise<void>;
  /** What stands now, to come back to. */
  remember(): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

const prefix = "walk";

/** `url` names the database; it is emptied. */
export async function openLane(url: string): Promise<Lane> {
  const raw = new Redis(url);
  await raw.flushdb();
  const queue = await openQueue({ url, prefix, graceMs: 0, quietMs: 3_600_000 });
  const setField: Lane["setField"] = async (id, field, value) => {
    if ((await raw.exists(`${prefix}:batch:${id}`)) === 1) await raw.hset(`${prefix}:batch:${id}`, field, value);
  };
  const base = (kind: JobKind, model: string): string => `${prefix}:${kind === "chunk" ? `chunk-${model}` : kind}`;
  return {
    queue,
    raw,
    // Those with a turn (plans) come behind those without.
    take: async (kind, model) =>
      (await raw.rpop(`${base(kind, model)}:wait`)) ?? (await raw.zpopmin(`${base(kind, model)}:prioritized`))[0] ?? null,
    finish: async (kind, model, jobId) => void (await raw.del(`${base(kind, model)}:${jobId}`)),
    giveBack: async (kind, model, jobId) => {
      if ((await raw.exists(`${base(kind, model)}:${jobId}`)) === 1) await raw.rpush(`${base(kind, model)}:wait`, jobId);
    },
    endLeases: async () => {
      const leases = await raw.keys(`${prefix}:lease:*`);
      if (leases.length > 0) await raw.del(leases);
    },
    setField,
    passDeadline: async (id) => {
      // Time itself changes no record. A sealed batch's deadline decides nothing any more, and stands in its seal as it was.
      if ((await raw.hget(`${prefix}:batch:${id}`, "seal")) === null) await setField(id, "expires_at", 1);
    },
    stored: (tenant) => raw.hgetall(`${prefix}:stored:${tenant}`),
    lose: async () => void (await raw.flushdb()),
    remember: async () => {
      const keys = await raw.keys("*");
      const dumps = await Promise.all(keys.map(async (key) => [key, await raw.dumpBuffer(key)] as const));
      return async () => {
        await raw.flushdb();
        for (const [key, dump] of dumps) if (dump !== null) await raw.restore(key, 0, dump);
        // It is another run of the server that reads the file.
        if ((await raw.exists(`${prefix}:sentinel`)) === 1) await raw.hset(`${prefix}:sentinel`, "run_id", "0".repeat(40));
      };
    },
    close: async () => {
      await queue.close();
      raw.disconnect();
    },
  };
}
