/** Does a round's faults when their moments come, and undoes those that last. Owns which process each strikes; refuses to judge what comes of it. */
import { readdir, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Asked } from "./asks.ts";
import type { Fault } from "./plan-round.ts";
import type { Application, Stage } from "./stage.ts";

export interface Injection {
  /** The batch was submitted: moments in time count from here. */
  begin(): void;
  /** So many rows were asked for. */
  rows(count: number): void;
  /** A process is about to take a step. Resolves when it may; false where it is dead. */
  step(asked: Asked): Promise<boolean>;
  /** The poison is about to be decoded. Resolves when it may be; false where that killed the process. */
  poison(pid: number): Promise<boolean>;
  /** Undoes what lasts, wakes and replaces everybody. No fault comes after it. */
  over(): Promise<void>;
  /** Which of the plan's faults came. */
  met(): readonly Fault[];
}

export function openInjection(stage: Stage, faults: readonly Fault[]): Injection {
  const waiting = new Set(faults);
  const met: Fault[] = [];
  const lasting = new Set<Promise<void>>();
  const stopped = new Set<Application>();
  let poisoned = false;
  const hits = new Map<string, number>();
  const end = new AbortController();
  // Two outages of Redis don't overlap: the second begins when it is back.
  let redisBack = Promise.resolve();

  const passed = (ms: number): Promise<void> => sleep(ms, undefined, { signal: end.signal }).catch(() => {});
  const strike = (fault: Fault, asker: Application | null): void => {
    if (!waiting.delete(fault) || end.signal.aborted) return;
    met.push(fault);
    const done: Promise<void> = damage(fault, asker).finally(() => lasting.delete(done));
    lasting.add(done);
  };

  const damage = async (fault: Fault, asker: Application | null): Promise<void> => {
    switch (fault.kind) {
      case "worker killed":
        return stage.kill(asker ?? stage.worker(fault.worker));
      case "api killed":
        return stage.kill(asker ?? stage.api());
      case "worker stalled": {
        const victim = asker ?? stage.worker(fault.worker);
        stopped.add(victim);
        victim.kill("SIGSTOP");
        await passed(fault.forMs);
        stopped.delete(victim);
        return victim.kill("SIGCONT");
      }
      case "S3 failing":
        stage.weather.begin(fault.share, fault.seed);
        await passed(fault.forMs);
        return stage.weather.end();
      case "Redis killed":
        return (redisBack = redisBack.then(async () => {
          await stage.redis.kill();
          await passed(fault.forMs);
          await stage.redis.restart();
        }));
      case "Redis full":
        return (redisBack = redisBack.then(async () => {
          await stage.redis.ask("CONFIG SET maxmemory 1");
          await passed(fault.forMs);
          await stage.redis.ask("CONFIG SET maxmemory 0");
        }));
      case "Redis emptied":
        return (redisBack = redisBack.then(async () => {
          await stage.redis.ask("FLUSHALL");
          if (fault.againAfterMs === null) return;
          await passed(fault.againAfterMs);
          await stage.redis.ask("FLUSHALL");
        }));
      case "Redis without its last second":
        return (redisBack = redisBack.then(async () => {
          const { file, sizeBytes } = await appendOnlyFile(stage.redis.folder);
          await passed(1_000);
          await stage.redis.kill();
          // Where it is being written anew, or was, the second stands in other files as well: then it was killed, and no more.
          if ((await appendOnlyFile(stage.redis.folder)).file === file) await truncate(file, sizeBytes);
          await stage.redis.restart();
        }));
      case "poison image":
        poisoned = true;
        return;
      case "clock jump": {
        const victim = fault.process === 0 ? stage.api() : stage.worker(fault.process - 1);
        return stage.setClock(victim, fault.days * 86_400_000);
      }
    }
  };

  return {
    begin: () => {
      for (const fault of faults) {
        const { when } = fault;
        if (when.at === "ms") void passed(when.ms).then(() => strike(fault, null));
      }
    },
    rows: (count) => {
      for (const fault of waiting) if (fault.when.at === "rows" && count > fault.when.rows) strike(fault, null);
    },
    step: async ({ step, pid }) => {
      const hit = (hits.get(step) ?? 0) + 1;
      hits.set(step, hit);
      const asker = stage.byPid(pid);
      for (const fault of waiting) {
        if (fault.when.at !== "step" || fault.when.step !== step || fault.when.hit !== hit) continue;
        strike(fault, asker);
        // Whatever it is, it is there before the step is taken.
        await sleep(20);
      }
      return !stage.isDead(pid);
    },
    poison: async (pid) => {
      const victim = stage.byPid(pid);
      if (poisoned && victim !== null) stage.kill(victim);
      return !stage.isDead(pid);
    },
    over: async () => {
      waiting.clear();
      poisoned = false;
      end.abort();
      await Promise.all(lasting);
      stage.weather.end();
      for (const victim of stopped) victim.kill("SIGCONT");
      await stage.whole();
      for (const process of [stage.api(), stage.worker(0), stage.worker(1), stage.worker(2)]) await stage.setClock(process, 0);
    },
    met: () => met,
  };
}

/** Redis's file that commands are appended to just now, and how long it is. A command that is cut in two at its end is left out when it is read. */
async function appendOnlyFile(folder: string): Promise<{ readonly file: string; readonly sizeBytes: number }> {
  const names = (await readdir(join(folder, "appendonlydir"))).filter((name) => name.endsWith(".incr.aof"));
  const numberOf = (name: string): number => Number(name.split(".").at(-3));
  const file = join(folder, "appendonlydir", names.toSorted((one, other) => numberOf(one) - numberOf(other)).at(-1) ?? "");
  return { file, sizeBytes: (await stat(file)).size };
}
