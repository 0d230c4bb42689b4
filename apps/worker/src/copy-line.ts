/**
 * The answer of an earlier item that shows and asks the same, as this item's own line. Owns the comparison: plan's `same_as` is a hint, and nothing is copied on its word.
 * Only what succeeded is copied; an item whose like failed, or isn't done, runs by itself.
 */
import { itemsPerChunk } from "./chunk-ledger.ts";
import { limits, lineSucceeded, resultLine, succeededLine, type Item, type ItemIdentity, type ResultLine } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import { batchKeys, readLines, type Storage } from "@flamboyance/storage";
import { isWeb } from "./fetch.ts";
import type { ItemModel, ItemResult } from "./item.ts";
import { sourcesOf } from "./media.ts";
import type { OpenBatch } from "./open-batches.ts";
import { itemPromptHash } from "./prompt.ts";
import { noTally } from "./result-tally.ts";

/** This item's line from its like's; null where they aren't alike after all: whatever is wrong with this one then comes out as it runs. */
export function copyLine(
  { batch, model, worker }: { readonly batch: OpenBatch; readonly model: ItemModel; readonly worker: string },
  line: ResultLine,
  item: Item,
  identity: ItemIdentity,
): ItemResult | null {
  const body = line.response?.body;
  if (!lineSucceeded(line) || body === undefined || !("choices" in body) || line.flamingo === undefined) return null;
  const { request } = batch;
  const made = line.flamingo;
  const sources = sourcesOf(item, request.frames, model.maxFrames);
  // The web may answer anew, and what follows `?` in an address isn't in a line.
  if (sources.some(({ image }) => isWeb(image))) return null;
  const shown = sources.every(
    ({ image, etag, frames }, at) =>
      made.images[at]?.image === image && (etag === null || made.images[at].etag === etag) && (made.images[at].frames ?? null) === frames,
  );
  if (!shown || made.images.length !== sources.length) return null;
  if (made.prompt_sha256 !== itemPromptHash(request, batch.prefixHash, item)) return null;
  const { id: _id, object: _object, ...completion } = body;
  const timings = { fetch_ms: 0, decode_ms: 0, engine_ms: 0 };
  const { reused_from: _reused, ...own } = made;
  const copied = succeededLine(identity, completion, { ...own, timings, worker, copied_from: made.copied_from ?? line.id });
  // No token was made for it.
  return { line: copied, tally: { ...noTally, completed: 1 } };
}

/** The lines at these places of chunks before this one, as far as those chunks have their parts. */
export async function readEarlierLines(
  { queue, storage, serviceBucket: bucket }: { readonly queue: Queue; readonly storage: Storage; readonly serviceBucket: string },
  { request: { id }, plan }: OpenBatch,
  places: ReadonlySet<number>,
  signal: AbortSignal,
): Promise<Map<number, ResultLine>> {
  const size = itemsPerChunk(plan.items);
  const found = new Map<number, ResultLine>();
  const keys = batchKeys(id);
  for (const [chunk, wanted] of Map.groupBy(places, (place) => Math.floor(place / size))) {
    const [part] = await queue.parts({ id, from: chunk, count: 1 });
    if (part === undefined || part === null || part.cut) continue;
    const pieces = storage.stream({ bucket, key: keys.part(plan.plan, chunk, part.attempt, part.cut) }, { signal });
    for await (const line of readLines(pieces, { maxLineBytes: limits.storedLineBytes })) {
      // One line an item, in order: a line's id has the item's number, which in a retry isn't its place.
      const place = chunk * size + line.number - 1;
      if (line.kind === "line" && wanted.includes(place)) found.set(place, resultLine.parse(JSON.parse(line.text)));
    }
  }
  return found;
}
