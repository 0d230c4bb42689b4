/** Batches that ended longer ago than they are kept: deleted as if their owner had asked. Owns which, and the order; the sweep takes the bytes. */
import { batchRequest, type Deletion } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import { batchKeys, readJson, type Storage } from "@flamboyance/storage";

/** So many in one round: the rest stays due. */
const batchesPerRound = 100;

/** Answers how many went. */
export async function deleteKeptTooLong(
  { storage, queue, serviceBucket: bucket }: { readonly storage: Storage; readonly queue: Queue; readonly serviceBucket: string },
  { keptMs, alone }: { readonly keptMs: number; readonly alone: (id: string, work: () => Promise<void>) => Promise<void> },
  signal: AbortSignal,
): Promise<number> {
  const nowSeconds = Math.floor(Date.now() / 1_000);
  const due = await queue.keptTooLong({ beforeSeconds: nowSeconds - keptMs / 1_000, limit: batchesPerRound });
  let deleted = 0;
  for (const id of due) {
    if (signal.aborted) break;
    await alone(id, async () => {
      const record = await queue.batch(id);
      const tenant = record?.tenant ?? (await readJson(storage, { bucket, key: batchKeys(id).request }, batchRequest, signal))?.tenant;
      if (tenant === undefined || (await queue.startDelete(id)).kind === "refused") return;
      const decided: Deletion = { tenant, deleted_at: nowSeconds, because: "retention" };
      await storage.write({ bucket, key: batchKeys(id).deleted }, JSON.stringify(decided), { contentType: "application/json", signal });
      await queue.forgetDeleted({ id, tenant });
      deleted += 1;
    });
  }
  return deleted;
}
