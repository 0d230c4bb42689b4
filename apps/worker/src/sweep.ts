/**
 * Takes away what an ended batch left behind: the plans, seals and results of losers, and all parts and frontiers, whose lines lie in final/ by now.
 * Owns what goes. What stays: the request, the control log, the end and what followed it; the results, the seal that end.json names, and that seal's plan, whose
 * items a retry would copy. Only known folders are touched, and only objects older than `ageMs` by the store's own clock: an unrecorded part of a live worker
 * looks like any loser's. Refuses a batch without end.json, and uploads that a crash left open: they are the bucket's lifecycle rule's.
 *
 * Which batches are due stands in the queue (`sweepable`): looked at again until a look finds nothing, for a stalled process may still write. After a loss of
 * Redis that list is refilled: with open batches as each is settled, with the others as they are listed again (rebuild.ts).
 */
import { deletion, end as endSchema, isCoded, type End } from "@flamboyance/contracts";
import { batchKeys, clockKey, readJson, type Storage } from "@flamboyance/storage";
import { findWinningSeal } from "./winning-seal.ts";

export interface SweepDependencies {
  readonly storage: Storage;
  readonly serviceBucket: string;
}

export interface Swept {
  /** Objects taken away. */
  readonly removed: number;
  /** `clean`: there was nothing to take. `later`: what is left is too young, or came late. `more`: the limit was reached. */
  readonly left: "clean" | "later" | "more";
}

/** One look at one batch. Takes away at most `maxObjects`, none that was written after `beforeMs` (the store's time). */
export async function sweepBatch(
  { storage, serviceBucket: bucket }: SweepDependencies,
  id: string,
  { beforeMs, maxObjects }: { readonly beforeMs: number; readonly maxObjects: number },
  signal: AbortSignal,
): Promise<Swept> {
  const keys = batchKeys(id);
  const end = await readJson(storage, { bucket, key: keys.end }, endSchema, signal);
  if (end === null) return { removed: 0, left: "clean" };
  const kept = await keptPrefixes({ storage, serviceBucket: bucket }, id, end, signal);
  const found: { bucket: string; key: string }[] = [];
  let young = false;
  let more = false;
  for (const prefix of [keys.partsPrefix, keys.frontierPrefix, keys.rebuiltPrefix, keys.planPrefix, keys.finalPrefix, keys.sealPrefix]) {
    for await (const { key, lastModified } of storage.list({ bucket, key: prefix }, { signal })) {
      if (kept.some((stays) => key.startsWith(stays))) continue;
      if (lastModified.getTime() > beforeMs) young = true;
      else if (found.length < maxObjects) found.push({ bucket, key });
      else {
        more = true;
        break;
      }
    }
  }
  await storage.remove(found, { signal });
  return { removed: found.length, left: more ? "more" : young || found.length > 0 ? "later" : "clean" };
}

/**
 * One look at a batch that was deleted: everything goes, at once, for nothing of it counts any more. deleted.json stays until a look finds nothing else and it is old
 * enough: what a stalled process writes late is found by then, and until then the id can't begin again. That of a retry stays while a batch before it stands: their next
 * retry's id follows from it.
 */
export async function sweepDeleted(
  { storage, serviceBucket: bucket }: SweepDependencies,
  id: string,
  { beforeMs, maxObjects }: { readonly beforeMs: number; readonly maxObjects: number },
  signal: AbortSignal,
): Promise<Swept> {
  const { folderPrefix, deleted, marker } = batchKeys(id);
  const found: { bucket: string; key: string }[] = [];
  let decidedMs = 0;
  // Before the end that names it: later nobody could say where it is.
  const lends = await lentKey({ storage, serviceBucket: bucket }, id, signal);
  if (lends !== null) await storage.remove([{ bucket, key: lends }], { signal });
  for await (const { key, lastModified } of storage.list({ bucket, key: folderPrefix }, { signal })) {
    if (key === deleted) decidedMs = lastModified.getTime();
    else if (found.length === maxObjects) {
      await storage.remove(found, { signal });
      return { removed: found.length, left: "more" };
    } else found.push({ bucket, key });
  }
  await storage.remove([...found, { bucket, key: marker }], { signal });
  if (found.length > 0 || decidedMs > beforeMs) return { removed: found.length, left: "later" };
  const { lineage = [] } = (await readJson(storage, { bucket, key: deleted }, deletion, signal)) ?? {};
  for (const before of lineage) {
    if ((await storage.describe({ bucket, key: batchKeys(before).request }, { signal })) !== null) return { removed: 0, left: "later" };
  }
  await storage.remove([{ bucket, key: deleted }], { signal });
  return { removed: 1, left: "clean" };
}

/** The object by which later batches find this one's answers. */
async function lentKey({ storage, serviceBucket: bucket }: SweepDependencies, id: string, signal: AbortSignal): Promise<string | null> {
  try {
    return (await readJson(storage, { bucket, key: batchKeys(id).end }, endSchema, signal))?.lends?.key ?? null;
  } catch (error) {
    // An end that can't be read keeps nothing from going.
    if (!isCoded(error, "internal_error")) throw error;
    return null;
  }
}

/** The time on the store's own clock, in ms: a worker's may be wrong by more than an age. */
export async function storeTime({ storage, serviceBucket: bucket }: SweepDependencies, signal: AbortSignal): Promise<number> {
  const clock = { bucket, key: clockKey };
  await storage.write(clock, "", { contentType: "text/plain", signal });
  return (await storage.describe(clock, { signal }))?.lastModified.getTime() ?? 0;
}

/** Everything that end.json stands for begins with one of these. */
async function keptPrefixes(
  { storage, serviceBucket: bucket }: SweepDependencies,
  id: string,
  end: End,
  signal: AbortSignal,
): Promise<string[]> {
  const keys = batchKeys(id);
  const kept = [keys.final(end.seal).folderPrefix];
  const sealed = await findWinningSeal(storage, bucket, id, end, signal);
  if (sealed !== null) return [...kept, sealed.key, ...(sealed.seal.plan === null ? [] : [keys.plan(sealed.seal.plan).folderPrefix])];
  // An end without its seal can't say which plan it followed: all of them stay.
  return [...kept, keys.planPrefix];
}
