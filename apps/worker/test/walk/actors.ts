/**
 * Who acts on a batch: the worker's own plan, chunk, finalize, frontier, reconcile and rebuild, each step of them in its turn; and, step by step as the api does them,
 * a submit, controls and a reader. Owns what stands for the model and the images; refuses to hold anything against anybody.
 */
import { createHash } from "node:crypto";
import type { BatchRequest, Control } from "@flamboyance/contracts";
import { newUlid, type Job, type Queue } from "@flamboyance/queue";
import { batchKeys, readBatchLines, type Storage } from "@flamboyance/storage";
import { runChunk } from "../../src/chunk.ts";
import { runFinalize } from "../../src/finalize.ts";
import { advanceFrontier, trackFrontiers } from "../../src/frontier.ts";
import { Gate } from "../../src/gate.ts";
import { openLog } from "../../src/log.ts";
import { createMetrics } from "../../src/metrics.ts";
import { holdOpenBatches } from "../../src/open-batches.ts";
import { openPixelCache } from "../../src/pixel-cache.ts";
import { runPlan } from "../../src/plan.ts";
import { Rates } from "../../src/rates.ts";
import { openReadAhead } from "../../src/read-ahead.ts";
import { rebuildLost } from "../../src/rebuild.ts";
import { openReconciler } from "../../src/reconcile.ts";
import { openLenders } from "../../src/reuse/lenders.ts";
import { Solitude } from "../../src/solitude.ts";
import { startStopWatch, type StopWatch } from "../../src/stop-watch.ts";
import type { MemoryStorage } from "./memory-storage.ts";
import type { Actor, Turns } from "./turns.ts";

export const bucket = "service";
const log = openLog({ level: "silent", worker: "w" });
const metrics = createMetrics(() => Promise.resolve([]));
const { signal: never } = new AbortController();
/** Leases end when the walk says so. */
const leaseMs = 3_600_000;

/** An actor's own way into Redis and S3. */
export interface Rooms {
  readonly queue: Queue;
  readonly storage: Storage;
}

const notSteps: ReadonlySet<string> = new Set(["openBatches", "consume", "close"]);

export function roomsOf(turns: Turns, actor: Actor, queue: Queue, memory: MemoryStorage): Rooms {
  const room = turns.roomOf(actor, memory, (name) => ["read", "readRange", "describe", "write", "remove"].includes(name));
  const storage: Storage = {
    ...room,
    read: (...given) => room.read(...given),
    readRange: (...given) => room.readRange(...given),
    describe: (...given) => room.describe(...given),
    write: (...given) => room.write(...given),
    remove: (...given) => room.remove(...given),
    async *stream(location, { offsetBytes = 0, signal }) {
      const { bytes } = await room.read(location, { signal });
      yield bytes.subarray(offsetBytes);
    },
    // It stands whole, or not at all.
    writeStream: async (location, pieces, { contentType, signal }) => {
      const bytes = Buffer.concat(await Array.fromAsync(pieces));
      signal.throwIfAborted();
      await room.write(location, bytes, { contentType, signal });
      return { sizeBytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    },
    async *list(prefix, options) {
      await turns.turn(actor, `list ${prefix.key}`);
      yield* await Array.fromAsync(memory.list(prefix, options));
    },
    async *folders(prefix, options) {
      await turns.turn(actor, `list ${prefix.key}`);
      yield* await Array.fromAsync(memory.folders(prefix, options));
    },
  };
  return { queue: turns.roomOf(actor, queue, (name) => !notSteps.has(name)), storage };
}

const decoder = { decode: () => Promise.resolve([new Float32Array(3)]), close: () => Promise.resolve() };

/** No two runs of a row say the same: whose line it is can be told. */
function engineOf(next: () => number) {
  return {
    device: null,
    lost: never,
    generate: ({ id }: { readonly id: string }) =>
      Promise.resolve({ text: `${id} ${next()}`, finish: "stop" as const, promptTokens: 2, cachedTokens: 1, newTokens: 1 }),
    rank: () => Promise.reject(new Error("nobody ranks here")),
    stats: () => Promise.resolve(null),
    close: () => Promise.resolve(),
  };
}

const web = { fetch: () => Promise.reject(new Error("no image of a walk is the web's")), close: () => {} };
const sharedOf = (rooms: Rooms) => ({ ...rooms, buckets: { of: () => rooms.storage }, web, serviceBucket: bucket, metrics, log, decoder });

export function planBatch(rooms: Rooms, id: string, signal: AbortSignal, worker: string) {
  const process = { worker, rooms: { plans: new Solitude(), chunks: new Solitude(), finalizes: new Solitude() } };
  return runPlan({ ...sharedOf(rooms), ...process, stops: startStopWatch(rooms.queue) }, id, signal);
}

/** `stops` is asked whether the batch is being stopped as often as the walk looks. */
export function chunkOf(
  rooms: Rooms,
  job: Job,
  signal: AbortSignal,
  { worker, stops, next }: { worker: string; stops: StopWatch; next: () => number },
) {
  const shared = sharedOf(rooms);
  const model = {
    name: "m",
    preprocessing: { imageSize: 1, mean: [0, 0, 0], std: [1, 1, 1] } satisfies object,
    maxFrames: 1,
    engine: engineOf(next),
  };
  return runChunk(
    {
      ...shared,
      worker,
      stops,
      frontiers: trackFrontiers(shared),
      batches: holdOpenBatches({ ...rooms, bucket, decoder, signal: never }),
      lenders: openLenders({ ...rooms, bucket, metrics, maxBytes: 1_000_000, signal: never }),
      rates: new Rates(),
      itemGate: new Gate({ holders: 1 }),
      solitude: new Solitude(),
      readAhead: openReadAhead({ slots: 1, maxBytes: 1_000 }),
      pixelCache: openPixelCache({ maxBytes: 100_000 }),
    },
    { ...model, preprocessing: { imageSize: 1, mean: [0, 0, 0], std: [1, 1, 1] } },
    job,
    signal,
  );
}

export const finalizeBatch = (rooms: Rooms, id: string, signal: AbortSignal) => runFinalize(sharedOf(rooms), id, signal);

export const confirmFrontier = (rooms: Rooms, id: string) => advanceFrontier(sharedOf(rooms), id, never);

export const reconcileOnce = (rooms: Rooms) =>
  openReconciler({ ...sharedOf(rooms), leaseMs, rebuildLeaseMs: leaseMs, sweepMs: 0, keptMs: null }).round(never);

export const rebuild = (rooms: Rooms) => rebuildLost({ ...sharedOf(rooms), rebuildLeaseMs: leaseMs }, never);

/** What the queue's repair does of one batch between two looks of ours, with time between its look and its deed. */
export async function repairLate({ queue }: Rooms, id: string): Promise<void> {
  const record = await queue.batch(id);
  if (record === null) return;
  const seal = newUlid();
  const { status } = record;
  if ((status === "in_progress" || status === "paused") && record.recorded === record.chunks)
    await queue.seal({ id, seal, outcome: "completed" });
  else if (status === "cancelling") await queue.seal({ id, seal, outcome: "cancelled" });
  else if (status === "expiring") await queue.seal({ id, seal, outcome: "expired" });
  else if (status !== "finalizing") await queue.expire(id);
}

/** Whoever seals without looking: the scripts know when. */
export const sealBlindly = ({ queue }: Rooms, id: string, outcome: "completed" | "cancelled" | "expired") =>
  queue.seal({ id, seal: newUlid(), outcome });

const json = { contentType: "application/json", signal: never };

/** The api's four steps, for an id that it reserved. */
export async function submitBatch({ queue, storage }: Rooms, request: BatchRequest): Promise<void> {
  const keys = batchKeys(request.id);
  await storage.write({ bucket, key: keys.request }, JSON.stringify(request), json);
  await storage.write({ bucket, key: keys.marker }, "", json);
  await queue.submit(request);
}

/** The api's three steps; true where it is answered as done. */
export async function controlBatch({ queue, storage }: Rooms, id: string, kind: Exclude<Control["kind"], "priority">): Promise<boolean> {
  const taken = await queue.takeNumber({ id, kind });
  if (taken.kind !== "taken") return false;
  await storage.write({ bucket, key: batchKeys(id).control(taken.number, newUlid()) }, JSON.stringify({ kind }), json);
  const step = { id, number: taken.number };
  if (kind === "cancel") return (await queue.applyCancel(step)).kind === "cancelling";
  return (await (kind === "pause" ? queue.applyPause(step) : queue.applyResume(step))).kind === "applied";
}

/** The lines that the api shows of a batch that runs. */
export async function readShown({ queue, storage }: Rooms, id: string): Promise<string[]> {
  const record = await queue.batch(id);
  if (record === null || record.plan === null || record.confirmed === 0 || record.settled) return [];
  const parts = await queue.parts({ id, count: record.confirmed });
  const { plan, chunks, refused } = record;
  const shown: string[] = [];
  for await (const { text } of readBatchLines(storage, { bucket, id, plan, chunks, refused, parts, signal: never })) shown.push(text);
  return shown;
}
