/**
 * The chunk job: claim → read the items → run them → write the part whole → record it, first wins.
 * A suspect chunk (its last claimant died over it) runs alone and item by item. Owns what happens to a chunk that is stopped (cut short, handed back) or that meets a passing fault (thrown: tried again).
 */
import {
  item as itemSchema,
  itemNumber,
  lineRan,
  neverRanLine,
  type Item,
  type PartChoice,
  type ResultLine,
  type Tally,
} from "@flamboyance/contracts";
import { CodedError } from "@flamboyance/contracts";
import { newUlid, type Job, type Queue } from "@flamboyance/queue";
import { batchKeys, decodePlanIndex, jsonLine, planIndexRange, readLines, type Storage } from "@flamboyance/storage";
import { copyLine, readEarlierLines } from "./copy-line.ts";
import type { Frontiers } from "./frontier.ts";
import type { Gate } from "./gate.ts";
import { runItem, type ItemDependencies, type ItemModel, type ItemResult, type RunningBatch } from "./item.ts";
import { stopKind } from "./job-stop.ts";
import { framesOf, sourcesOf } from "./media.ts";
import type { OpenBatch, OpenBatches } from "./open-batches.ts";
import type { Lenders } from "./reuse/lenders.ts";
import type { Rates } from "./rates.ts";
import { addTallies, noTally } from "./result-tally.ts";
import { inRoom, type Place, type Solitude } from "./solitude.ts";
import type { StopWatch } from "./stop-watch.ts";
import { runOneByOne } from "./suspect.ts";

export interface ChunkDependencies extends ItemDependencies {
  readonly storage: Storage;
  readonly queue: Queue;
  readonly batches: OpenBatches;
  readonly stops: StopWatch;
  readonly frontiers: Frontiers;
  readonly lenders: Lenders;
  readonly rates: Rates;
  /** Items of all chunks that are under way at once, each weighing its frames. */
  readonly itemGate: Gate;
  /** Of all chunks in this process. */
  readonly solitude: Solitude;
}

/** `signal` fires when the worker shuts down or the job's lock is lost: the chunk is handed back. */
export async function runChunk(
  dependencies: ChunkDependencies,
  model: ItemModel,
  job: Job,
  signal: AbortSignal,
): Promise<"done" | "hand_back"> {
  // Before the claim: what waits here because another chunk, or a plan, runs alone, and may end the process, is no claim of this one.
  return inRoom(dependencies.solitude, signal, (place) => runClaimed(dependencies, model, job, place, signal));
}

async function runClaimed(
  dependencies: ChunkDependencies,
  model: ItemModel,
  { id, chunk, dispatch }: Job,
  place: Place,
  signal: AbortSignal,
): Promise<"done" | "hand_back"> {
  const { queue, worker, batches, stops } = dependencies;
  const attempt = newUlid();
  const claim = await queue.claim({ id, chunk, attempt, dispatch, worker });
  // The batch is being stopped and may be quiet by now.
  if (claim.kind === "stopped") await queue.repair(id);
  if (claim.kind !== "run") return "done";
  const stop = stops.watch(id);
  try {
    const either = AbortSignal.any([signal, stop.signal]);
    // A stopped batch isn't kept waiting: nothing of the chunk runs then.
    if (claim.suspect) await place.alone(either).catch(() => {});
    const opened = await batches.open(id, claim.plan, model, signal);
    const batch = { ...opened, earlier: await dependencies.lenders.open(opened, signal) };
    const { items, firstItem } = await readItems(dependencies, batch, chunk, signal);
    const results = claim.suspect
      ? await runOneByOne(dependencies, model, batch, { items, firstItem }, { id, chunk, attempt, quarantined: claim.quarantined }, either)
      : await runItems(dependencies, model, batch, { items, firstItem }, either);
    if (results === null) return "done";
    // Looked at in this order: a worker that shuts down hands a cancelled chunk back too.
    if (results.includes(null) && signal.aborted) throw signal.reason;
    const stopped = stopKind(stop.signal);
    if (stopped === "ended") return "done";
    const cut = results.includes(null);
    const { text, tally } = partOf(id, items, firstItem, results, stopped === "expired" ? "batch_expired" : "batch_cancelled");
    await writePart(dependencies, batch, chunk, { attempt, cut }, text, signal);
    await recordPart(dependencies, { id, chunk, plan: claim.plan, attempt, cut, tally });
    return "done";
  } catch (error) {
    // This attempt is over: a batch that is being stopped needn't wait for it. Where Redis is away, the claim is outlived instead.
    await queue.release({ id, chunk, attempt }).catch(() => {});
    if (!signal.aborted) throw error;
    return "hand_back";
  } finally {
    stop.done();
  }
}

async function readItems(
  { storage, serviceBucket: bucket, metrics }: ChunkDependencies,
  { request, plan }: OpenBatch,
  chunk: number,
  signal: AbortSignal,
): Promise<{ items: Item[]; firstItem: number }> {
  const keys = batchKeys(request.id).plan(plan.plan);
  return metrics.time("read", async () => {
    const [planned] = decodePlanIndex(await storage.readRange({ bucket, key: keys.index }, { ...planIndexRange(chunk), signal }));
    if (planned === undefined) throw new CodedError("internal_error", `${request.id}: the plan has no chunk ${chunk}`);
    const { offsetBytes, sizeBytes: lengthBytes, firstItem } = planned;
    const bytes = await storage.readRange({ bucket, key: keys.items }, { offsetBytes, lengthBytes, signal });
    const items: Item[] = [];
    for await (const line of readLines(once(bytes), { maxLineBytes: lengthBytes })) {
      if (line.kind === "line") items.push(itemSchema.parse(JSON.parse(line.text)));
    }
    if (items.length !== planned.items)
      throw new CodedError("internal_error", `${request.id}: chunk ${chunk} has ${items.length} items, not ${planned.items}`);
    return { items, firstItem };
  });
}

/** One result per item, null where the signal came first. A passing fault gives the whole chunk up, after everything under way has ended. */
async function runItems(
  dependencies: ChunkDependencies,
  model: ItemModel,
  batch: RunningBatch,
  { items, firstItem }: { readonly items: readonly Item[]; readonly firstItem: number },
  signal: AbortSignal,
): Promise<(ItemResult | null)[]> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const results: (ItemResult | null)[] = items.map(() => null);
  const underWay = new Set<Promise<void>>();
  /** By the place of the first item of their kind: who of this chunk runs it, if nobody before did. */
  const runners = new Map<number, Promise<ItemResult | null>>();
  /** Rejects with nothing: a passing fault gives the chunk up, and a signal leaves null. */
  const start = (index: number, kind: number, work: () => Promise<ItemResult>): void => {
    const ended = work()
      .then((result) => {
        results[index] = result;
        // What others' answers cost says nothing of what the model's do.
        if (lineRan(result.line)) dependencies.rates.itemDone(batch.request.model.key);
        return result;
      })
      .catch((error: unknown) => {
        failed.abort(error);
        return null;
      });
    if (!runners.has(kind)) runners.set(kind, ended);
    const settled: Promise<void> = ended.then(() => void underWay.delete(settled));
    underWay.add(settled);
  };
  const pass = (item: Item) => dependencies.itemGate.enter(either, framesOf(sourcesOf(item, batch.request.frames, model.maxFrames)));
  const run = (item: Item, index: number) =>
    runItem(dependencies, model, batch, { item, number: itemNumber(item, firstItem + index) }, either);
  const copy = await copyOf(dependencies, model, batch, { items, firstItem }, either);
  for (const [index, item] of items.entries()) {
    const kind = item.same_as ?? firstItem + index;
    if (item.same_as !== undefined) {
      const runner = runners.get(kind);
      // No pass while it waits: who runs it has one.
      start(index, kind, async () => {
        const copied = copy(item, index, null) ?? copy(item, index, (await runner)?.line ?? null);
        if (copied !== null) return copied;
        const own = await pass(item);
        return run(item, index).finally(() => own.release());
      });
      continue;
    }
    const own = await pass(item).catch(() => null);
    if (own === null) break;
    start(index, kind, () => run(item, index).finally(() => own.release()));
  }
  await Promise.all(underWay);
  if (failed.signal.aborted && !signal.aborted) throw failed.signal.reason;
  return results;
}

/** Copies an item's line from its like: of this chunk, given, or else of an earlier one that has its part by now. */
async function copyOf(
  dependencies: ChunkDependencies,
  model: ItemModel,
  batch: OpenBatch,
  { items, firstItem }: { readonly items: readonly Item[]; readonly firstItem: number },
  signal: AbortSignal,
): Promise<(item: Item, index: number, line: ResultLine | null) => ItemResult | null> {
  const places = new Set(items.flatMap(({ same_as: place }) => (place !== undefined && place < firstItem ? [place] : [])));
  const earlier = places.size === 0 ? new Map<number, ResultLine>() : await readEarlierLines(dependencies, batch, places, signal);
  return (item, index, line) => {
    const like = line ?? earlier.get(item.same_as ?? -1) ?? null;
    const identity = { batchId: batch.request.id, item: itemNumber(item, firstItem + index), customId: item.custom_id };
    const copied = like === null ? null : copyLine({ batch, model, worker: dependencies.worker }, like, item, identity);
    if (copied !== null) dependencies.metrics.item(model.name, "ok");
    return copied;
  };
}

/** The part's bytes: every item of the chunk, one line each, in order. */
function partOf(
  batchId: string,
  items: readonly Item[],
  firstItem: number,
  results: readonly (ItemResult | null)[],
  neverRan: "batch_cancelled" | "batch_expired",
): { text: string; tally: Tally } {
  let tally: Tally = noTally;
  const lines = items.map((item, index) => {
    const result = results[index] ?? null;
    if (result === null) {
      tally = addTallies(tally, { ...noTally, failed: 1 });
      return jsonLine(neverRanLine({ batchId, item: itemNumber(item, firstItem + index), customId: item.custom_id }, neverRan));
    }
    tally = addTallies(tally, result.tally);
    return jsonLine(result.line);
  });
  const text = lines.join("");
  return { text, tally: { ...tally, stored_bytes: Buffer.byteLength(text) } };
}

async function writePart(
  { storage, serviceBucket: bucket, metrics }: ChunkDependencies,
  { request, plan }: OpenBatch,
  chunk: number,
  { attempt, cut }: PartChoice,
  text: string,
  signal: AbortSignal,
): Promise<void> {
  const key = batchKeys(request.id).part(plan.plan, chunk, attempt, cut);
  await metrics.time("write", () => storage.write({ bucket, key }, text, { contentType: "application/jsonl", signal }));
}

async function recordPart({ queue, frontiers }: ChunkDependencies, part: Parameters<Queue["record"]>[0]): Promise<void> {
  const { id, chunk, cut } = part;
  const answer = await queue.record(part);
  // The batch isn't being stopped after all: the chunk must run whole.
  if (answer.kind === "refused" && answer.reason === "not_cut")
    throw new CodedError("service_unavailable", `${id}: chunk ${chunk} was cut too early`);
  if (answer.kind === "refused") return;
  frontiers.touched(id);
  if (answer.last) await queue.seal({ id, seal: newUlid(), outcome: "completed" });
  // The last running chunk of a stopped batch: it is quiet now.
  else if (cut) await queue.repair(id);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
