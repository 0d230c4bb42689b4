/**
 * The sentinel: the sign that what Redis holds is to be believed, and its epoch. Every process compares it on a timer, and writing scripts look for it themselves.
 * A Redis that came back with another run id may lack its last second; until the rebuild stands, it is believed and `onFault` hears of it.
 */
import { CodedError } from "@flamboyance/contracts";
import type { Redis } from "ioredis";
import { believeAnswer } from "./answers.ts";
import { reached } from "./connect.ts";
import { keyOf } from "./layout.ts";
import type { RunScript } from "./script.ts";
import { believe } from "./scripts/processes.ts";

export interface Sentinel {
  /** The epoch last seen; 0 before any. */
  epoch: () => number;
  ensure: (above?: number) => Promise<void>;
  close: () => void;
}

interface Dependencies {
  readonly redis: Redis;
  readonly prefix: string;
  readonly run: RunScript;
  readonly intervalMs: number;
  readonly onFault: (error: unknown) => void;
}

export async function watchSentinel({ redis, prefix, run, intervalMs, onFault }: Dependencies): Promise<Sentinel> {
  const key = keyOf(prefix, "sentinel");
  let epoch = 0;
  let comparing = false;
  let told: string | null = null;

  const look = async (): Promise<void> => {
    const [seen, runId] = await reached(redis.hmget(key, "epoch", "run_id"));
    if (seen === undefined || seen === null) return;
    epoch = Number(seen);
    const current = await runIdOf(redis);
    if (runId === current || told === current) return;
    told = current;
    onFault(new CodedError("service_unavailable", "Redis was started anew since the sentinel was set."));
  };

  await look();
  const timer = setInterval(() => {
    if (comparing) return;
    comparing = true;
    look()
      .catch(onFault)
      .finally(() => (comparing = false));
  }, intervalMs);
  timer.unref();

  return {
    epoch: () => epoch,
    async ensure(above = 0) {
      const answer = await run(believe, [await runIdOf(redis), above], believeAnswer);
      epoch = answer.epoch;
    },
    close: () => clearInterval(timer),
  };
}

async function runIdOf(redis: Redis): Promise<string> {
  const info = await reached(redis.info("server"));
  return /^run_id:(?<id>[0-9a-f]+)/m.exec(info)?.groups?.["id"] ?? "";
}
