/** Batches that ended longer ago than they are kept: deleted as if their owner had asked. Owns which, and the order; the sweep takes the bytes. */
import { batchRequest, type Deletion } from "@flamboyance/contracts";
import { retryId, type Queue } from "@flamboyance/queue";
import { batchKeys, readJson, type Storage } from "@flamboyance/storage";

/** So many in one round: the rest stays due. */
const batchesPerRound = 100;

/** Answers how many went. */
export async function deleteKeptTooLong(
  { storage, queue, serviceBucket: bucket }: { readonly storage: Storage; readonly queue: Queue; readonly serviceBucket: string },
  { keptMs, alone }: { readonly keptMs: number; readonly alone: (id: string, work: () => Promise<void>) => Promise<void> },
  signal: AbortSignal,
): Promise<number> {
  const nowSeconds = await queue.now();
  const due = await queue.keptTooLong({ beforeSeconds: nowSeconds - keptMs / 1_000, limit: batchesPerRound });
  let deleted = 0;
  for (const id of due) {
    if (signal.aborted) break;
    await alone(id, async () => {
      const record = await queue.batch(id);
      const known = record ?? (await readJson(storage, { bucket, key: batchKeys(id).request }, batchRequest, signal));
      if (known === null) return;
      const { tenant, retry } = known;
      const after = await lookAhead({ storage, bucket }, id, signal);
      // What would copy this batch's items isn't taken up yet.
      if (after.newest !== id && (await queue.batch(after.newest)) === null && (await stands({ storage, bucket }, after.marker, signal)))
        return;
      if ((await queue.startDelete({ id, ...after })).kind !== "started") return;
      const decided: Deletion = {
        tenant,
        deleted_at: nowSeconds,
        because: "retention",
        ...(retry === undefined ? {} : { lineage: retry.lineage }),
      };
      await storage.write({ bucket, key: batchKeys(id).deleted }, JSON.stringify(decided), { contentType: "application/json", signal });
      await queue.forgetDeleted({ id, tenant, next: after.next });
      deleted += 1;
    });
  }
  return deleted;
}

interface Place {
  readonly storage: Storage;
  readonly bucket: string;
}

/** The newest of the batch and its retries that isn't deleted, and the id that the next one would have. */
async function lookAhead(place: Place, id: string, signal: AbortSignal): Promise<{ newest: string; next: string; marker: string }> {
  let newest = id;
  for (let next = retryId(id); ; next = retryId(next)) {
    const { request, deleted } = batchKeys(next);
    const isDeleted = await stands(place, deleted, signal);
    if (!isDeleted && !(await stands(place, request, signal))) return { newest, next, marker: batchKeys(newest).marker };
    if (!isDeleted) newest = next;
  }
}

async function stands({ storage, bucket }: Place, key: string, signal: AbortSignal): Promise<boolean> {
  return (await storage.describe({ bucket, key }, { signal })) !== null;
}
