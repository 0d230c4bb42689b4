/**
 * Whether what Redis holds is to be believed: a sentinel stands, and names this very run of the server. One that was emptied has none; one that was started anew, or
 * a promoted replica, is another run, and may lack its last second. Scripts look for themselves (prelude.ts); this is for readings.
 */
import type { ChainableCommander, Redis } from "ioredis";
import { z } from "zod";
import { replies } from "./connect.ts";
import { keyOf } from "./layout.ts";

/** The sentinel's epoch; null where this Redis isn't believed. */
export type Belief = number | null;

/** The replies of some reads, and whether they are to be believed, in one round trip. Asked behind the reads: what was read before a loss was true. */
export async function readBelieved(reading: ChainableCommander, prefix: string): Promise<{ found: unknown[]; belief: Belief }> {
  const found = await replies(reading.hmget(keyOf(prefix, "sentinel"), "epoch", "run_id").info("server"));
  const [sentinel, info] = asked.safeParse(found.slice(-2)).data ?? [];
  const runId = /^run_id:(?<id>[0-9a-f]+)/m.exec(info ?? "")?.groups?.["id"];
  return { found: found.slice(0, -2), belief: sentinel !== undefined && sentinel[1] === runId ? Number(sentinel[0]) : null };
}

export function believedOf({ redis, prefix }: { readonly redis: Redis; readonly prefix: string }): () => Promise<Belief> {
  return async () => (await readBelieved(redis.pipeline(), prefix)).belief;
}

const asked = z.tuple([z.tuple([z.string(), z.string()]), z.string()]);
