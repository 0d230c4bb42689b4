/** Who serves which model, leases, and how often a key calls: what is forgotten by itself. */
import type { Redis } from "ioredis";
import { allowCallAnswer, announceAnswer, leaseAnswer, liveAnswer } from "./answers.ts";
import { reached, replies } from "./connect.ts";
import { keyOf } from "./layout.ts";
import type { Queue } from "./queue.ts";
import type { RunScript } from "./script.ts";
import { allowCall } from "./scripts/allow-call.ts";
import { announce, announcePlanner, letGo, live, renew } from "./scripts/processes.ts";
import { newUlid } from "./ulid.ts";

type WorkersPart = Pick<Queue, "announce" | "announcePlanner" | "withdraw" | "liveModels" | "models" | "lease" | "allowCall">;

export function workersOf({ redis, prefix, run }: { redis: Redis; prefix: string; run: RunScript }): WorkersPart {
  const models = (): Promise<string[]> => reached(redis.smembers(keyOf(prefix, "models")));
  return {
    async announce({ worker, model, slots, itemsPerSecond = null }, ttlMs) {
      await run(announce, [model, worker, slots, ttlMs, itemsPerSecond?.toFixed(3) ?? "-"], announceAnswer);
    },

    async announcePlanner(worker, ttlMs) {
      await run(announcePlanner, [worker, ttlMs], announceAnswer);
    },

    async withdraw(worker, only) {
      const leaving = redis.pipeline();
      if (only === undefined) leaving.zrem(keyOf(prefix, "planners"), worker);
      for (const model of only === undefined ? await models() : [only]) leaving.hdel(keyOf(prefix, "serving", model), worker);
      await replies(leaving);
    },

    allowCall: async ({ who, perSecond, burst }) => (await run(allowCall, [who, perSecond, burst], allowCallAnswer)).waitMs,

    liveModels: () => run(live, [], liveAnswer),
    models,

    async lease(name, ttlMs) {
      const token = newUlid();
      const taken = await reached(redis.set(keyOf(prefix, "lease", name), token, "PX", ttlMs, "NX"));
      if (taken === null) return null;
      return {
        name,
        renew: async () => (await run(renew, [name, token, ttlMs], leaseAnswer)).kind === "held",
        release: async () => {
          await run(letGo, [name, token], leaseAnswer);
        },
      };
    },
  };
}
