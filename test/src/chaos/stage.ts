/**
 * A whole service that is made to be broken: api and workers as processes that ask before each step, a Redis that can be killed, an S3 with weather.
 * Owns that whatever died is replaced, as an orchestrator would. Refuses to know batches.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, type Client } from "@flamboyance/client";
import { publishNoOpModel } from "@flamboyance/dev/no-op-model";
import { portOrFree } from "@flamboyance/dev/port";
import { startRedis } from "@flamboyance/dev/redis";
import { startTestServer } from "@flamboyance/dev/s3";
import { serviceBucket, startSystem, type System } from "@flamboyance/dev/system";
import { openQueue, type Queue } from "@flamboyance/queue";
import { openStorage, type Storage } from "@flamboyance/storage";
import { openAsks, type Asks } from "./asks.ts";
import { workers as workerCount } from "./plan-round.ts";
import { openWeather, type Weather } from "./weather.ts";

export type Application = System["api"];

export interface Stage {
  readonly folder: string;
  readonly client: Client;
  readonly storage: Storage;
  /** To look into Redis. */
  readonly queue: Queue;
  readonly redis: Awaited<ReturnType<typeof startRedis>>;
  readonly weather: Weather;
  readonly asks: Asks;
  /** The processes that stand in the places of the three workers now. */
  worker(place: number): Application;
  api(): Application;
  /** The process with this id, where it stands in a place; one that is being started doesn't yet. */
  byPid(pid: number): Application | null;
  /** Whether it was killed. */
  isDead(pid: number): boolean;
  /** SIGKILL; another is started in its place. */
  kill(victim: Application): void;
  /** The process's wall clock is off by so much from now on. */
  setClock(process: Application, offsetMs: number): Promise<void>;
  /** Resolves when every place is taken by a process that is ready. */
  whole(): Promise<void>;
  close(): Promise<void>;
}

export const customerBucket = "customer";

/** What all processes are told: locks of a second, so that a takeover is a matter of seconds, and looks about as often as in the other tests. */
const environment = {
  FLAMBOYANCE_ENGINE: "none",
  FLAMBOYANCE_LOCK_SECONDS: "1",
  FLAMBOYANCE_RECONCILE_SECONDS: "0.5",
  FLAMBOYANCE_SENTINEL_SECONDS: "0.3",
  FLAMBOYANCE_FRONTIER_SECONDS: "0.2",
  FLAMBOYANCE_STOP_SECONDS: "0.2",
  FLAMBOYANCE_QUIET_SECONDS: "3",
  FLAMBOYANCE_DRAIN_SECONDS: "1",
  // Longer than any process is stalled: what it writes when it wakes is younger than what is swept.
  FLAMBOYANCE_SWEEP_SECONDS: "4",
  FLAMBOYANCE_DECODE_THREADS: "1",
  FLAMBOYANCE_LOG_LEVEL: "info",
};

export async function openStage(): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-chaos-"));
  const clocks = join(folder, "clocks");
  await mkdir(clocks);
  const weather = openWeather();
  const asks = await openAsks();
  const s3 = await startTestServer({ faults: weather.faults });
  // Not among the ports that connections are given: while nobody listens on one of those, a client that tries again may connect to itself.
  const redis = await startRedis({ folder: join(folder, "redis"), port: await steadyPort() });
  const storage = openStorage({ ...s3, pathStyle: true });
  const { signal } = new AbortController();
  const system = await startSystem(
    {
      folder,
      s3,
      redis,
      ports: { api: await steadyPort() },
      workers: workerCount,
      environment: {
        ...environment,
        FLAMBOYANCE_FAILPOINTS: asks.stepUrl,
        FLAMBOYANCE_ENGINE_GATE: asks.rowUrl,
        CHAOS_CLOCKS: clocks,
        NODE_OPTIONS: `--import=${join(import.meta.dirname, "process-clock.ts")}`,
        NODE_COMPILE_CACHE: join(tmpdir(), "flamboyance-chaos-compiled"),
      },
    },
    async () => {
      for (const bucket of [serviceBucket, customerBucket]) await storage.ensureBucket(bucket, { signal });
      await publishNoOpModel(storage, serviceBucket, signal);
    },
  );
  const queue = await openQueue(system.redis);
  const places = [...system.workers];
  let api = system.api;
  const replacing = new Map<Application, Promise<void>>();
  const dead = new Set<number>();

  const replace = async (former: Application): Promise<void> => {
    await former.exited;
    const place = places.indexOf(former);
    for (;;) {
      try {
        if (place === -1) api = await system.restartApi();
        else places[place] = await system.addWorker();
        return;
      } catch (error) {
        // It starts only where Redis and S3 answer; an orchestrator tries again, too.
        console.error(`a process didn't start, and is started again: ${String(error).slice(0, 300)}`);
      }
    }
  };
  const all = (): Application[] => [api, ...places];
  return {
    folder,
    client: createClient({ baseUrl: system.apiUrl, apiKey: system.apiKey, retries: 0, timeoutMs: 30_000 }),
    storage,
    queue,
    redis,
    weather,
    asks,
    worker: (place) => places[place] ?? api,
    api: () => api,
    byPid: (pid) => all().find((process) => process.pid === pid && !replacing.has(process)) ?? null,
    isDead: (pid) => dead.has(pid),
    kill: (victim) => {
      if (replacing.has(victim) || !all().includes(victim)) return;
      victim.kill("SIGKILL");
      dead.add(victim.pid);
      replacing.set(
        victim,
        replace(victim).finally(() => {
          replacing.delete(victim);
          // All that it asked is answered or lost by now, and its number may come again.
          dead.delete(victim.pid);
        }),
      );
    },
    setClock: async (process, offsetMs) => {
      if (replacing.has(process)) return;
      await writeFile(join(clocks, String(process.pid)), String(offsetMs));
      process.kill("SIGUSR2");
    },
    whole: async () => {
      while (replacing.size > 0) await Promise.all(replacing.values());
    },
    close: async () => {
      await Promise.all(replacing.values());
      await queue.close();
      for (const process of all()) process.kill("SIGCONT");
      await system.close();
      await asks.close();
      storage.close();
      await s3.close();
      await redis.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A port below the ephemeral ones. */
function steadyPort(): Promise<number> {
  return portOrFree(10_000 + Math.floor(Math.random() * 20_000));
}
