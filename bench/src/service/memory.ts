/**
 * What a large batch takes of memory while it is in flight: Redis's, the worker's and the api's, beside small ones'. The batch is planned whole, runs for some time, with a caller
 * who reads results and progress all along, and is then cancelled if it hasn't ended: its finalize writes a line for every item all the same. Small ones follow each
 * other for as long: memory of processes that have just begun to work says little.
 */
import { setTimeout as pause } from "node:timers/promises";
import { isEnded, type Batch } from "@flamboyance/contracts";
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { connect } from "node:net";
import { manifest } from "./dataset.ts";
import { machine, note, print, readMetrics, residentBytes, stages } from "./figures.ts";
import { withSystem, type RunningSystem } from "./run-system.ts";

export interface MemorySetting {
  /** Items of the batches, one after the other, each in a system of its own. */
  readonly items: readonly number[];
  readonly seconds: number;
}

/** The most that was seen, in bytes. */
interface Peaks {
  redis: number;
  worker: number;
  api: number;
}

/** As in the worker's image (infra/Dockerfile). */
const imageMemory = {
  MALLOC_MMAP_THRESHOLD_: "1048576",
  MALLOC_TRIM_THRESHOLD_: "1048576",
  NODE_OPTIONS: "--max-semi-space-size=16",
};

/** False where a batch's counts don't add up. */
export async function measureMemory({ items, seconds }: MemorySetting, signal: AbortSignal): Promise<boolean> {
  const rows: string[] = [];
  let right = true;
  for (const count of items) {
    const dataset = { items: count, images: 1, imageSide: 256 };
    const row = await withSystem({ dataset, workers: 1, environment: imageMemory }, signal, (running) =>
      follow(running, count, seconds, signal),
    );
    right &&= row.right;
    note(row.text);
    rows.push(row.text);
  }
  print(
    machine,
    "",
    "| items | planned a second | worker: planning | Redis in flight | worker in flight | api in flight | done when stopped | lines written at the end, a second | worker: finalizing | counts |",
    "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ...rows,
  );
  return right;
}

async function follow(
  { system, client }: RunningSystem,
  items: number,
  seconds: number,
  signal: AbortSignal,
): Promise<{ text: string; right: boolean }> {
  const [worker] = system.workers;
  if (worker === undefined) throw new Error("one worker was started");
  const peaks = async (until: (batch: Batch) => boolean, id: string): Promise<{ peaks: Peaks; batch: Batch }> => {
    const found: Peaks = { redis: 0, worker: 0, api: 0 };
    for (;;) {
      const batch = await client.batches.get(id, { signal });
      if (batch.status === "in_progress") await client.batches.resultsPage(id, { limit: 1_000, signal });
      const [ofWorker, ofApi] = await Promise.all([worker.url, system.apiUrl].map(async (url) => residentBytes(await readMetrics(url))));
      found.redis = Math.max(found.redis, await redisBytes(system.redis.url));
      found.worker = Math.max(found.worker, ofWorker ?? 0);
      found.api = Math.max(found.api, ofApi ?? 0);
      if (until(batch)) return { peaks: found, batch };
      await pause(500, undefined, { signal });
    }
  };
  const body = { model: noOpModelName, task: "caption", input: manifest, deduplicate: false, completion_window: "7d" } as const;
  const most = { planning: 0, flying: { redis: 0, worker: 0, api: 0 }, ending: 0 };
  let [batches, completed] = [0, 0];
  let leftMs = 1_000 * seconds;
  let wrong: Batch["request_counts"] | null = null;
  while (leftMs > 0) {
    batches += 1;
    const { id } = await client.batches.create(body, { signal });
    note(`${items} items: planning`);
    const planning = await peaks(({ status }) => status !== "validating", id);
    most.planning = Math.max(most.planning, planning.peaks.worker);
    note(`${items} items: in flight`);
    const startedMs = performance.now();
    const stopMs = startedMs + leftMs;
    const flying = await peaks(({ status }) => status !== "in_progress" || performance.now() > stopMs, id);
    leftMs -= performance.now() - startedMs;
    for (const process of ["redis", "worker", "api"] as const) most.flying[process] = Math.max(most.flying[process], flying.peaks[process]);
    completed += flying.batch.request_counts.completed;
    if (flying.batch.status === "in_progress") await client.batches.cancel(id, { signal });
    note(`${items} items: ending`);
    const ending = await peaks(({ status }) => isEnded(status), id);
    most.ending = Math.max(most.ending, ending.peaks.worker);
    const { total, completed: done, failed } = ending.batch.request_counts;
    if (total !== items || done + failed !== items) wrong ??= ending.batch.request_counts;
  }
  const spent = new Map(stages(await readMetrics(worker.url)).map(({ stage, seconds: of }) => [stage, of]));
  const perSecond = (stage: string) => Math.round((batches * items) / (spent.get(stage) ?? NaN)).toLocaleString("en");
  const cells = [
    `${batches === 1 ? "" : `${batches} times `}${items.toLocaleString("en")}`,
    perSecond("plan"),
    megabytes(most.planning),
    megabytes(most.flying.redis),
    megabytes(most.flying.worker),
    megabytes(most.flying.api),
    completed.toLocaleString("en"),
    perSecond("finalize"),
    megabytes(most.ending),
    wrong === null ? "right" : `WRONG: ${JSON.stringify(wrong)}`,
  ];
  const right = wrong === null;
  return { text: `| ${cells.join(" | ")} |`, right };
}

const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

/** What Redis says that its data takes. Asked by hand: the queue's client is the queue's. */
async function redisBytes(url: string): Promise<number> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = "";
  socket.setEncoding("utf8");
  socket.write("INFO memory\r\n");
  for await (const piece of socket) {
    text += String(piece);
    const found = /used_memory:(\d+)\r/.exec(text)?.[1];
    if (found !== undefined) {
      socket.destroy();
      return Number(found);
    }
  }
  throw new Error("Redis closed the connection before it told its memory");
}
