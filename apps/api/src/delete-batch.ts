/**
 * DELETE: an ended batch's bytes go, for good. deleted.json is the decision: once it stands the id answers 404, and the sweep takes everything, again and again while it
 * stands. Refuses a batch that hasn't ended.
 */
import { CodedError, deletion, isEnded, shownStatus, type Deletion } from "@flamboyance/contracts";
import { batchKeys, readJson } from "@flamboyance/storage";
import type { ApiContext } from "./context.ts";
import { findBatch } from "./find-batch.ts";
import { isBatchId } from "./stored-batch.ts";

/** Safe to call again: while the batch is being taken away it answers as the first time. */
export async function deleteBatch(context: ApiContext, tenant: string, id: string, signal: AbortSignal): Promise<void> {
  const { queue, storage, bucket } = context;
  const location = { bucket, key: batchKeys(id).deleted };
  const standing = isBatchId(id) ? await readJson(storage, location, deletion, signal) : null;
  if (standing === null || standing.tenant !== tenant) {
    const found = await findBatch(context, tenant, id, signal);
    const status = found.kind === "record" ? found.record.status : found.end.status;
    if (!isEnded(status)) throw runs(id, shownStatus(status));
    const started = await queue.startDelete(id);
    if (started.kind === "refused") throw runs(id, shownStatus(started.status));
    const decided: Deletion = { tenant, deleted_at: Math.floor(Date.now() / 1_000), because: "asked" };
    await storage.write(location, JSON.stringify(decided), { contentType: "application/json", signal });
  }
  await queue.forgetDeleted({ id, tenant });
}

const runs = (id: string, status: string): CodedError =>
  new CodedError("conflict", `${id} is ${status}: only a batch that has ended can be deleted; cancel it first.`);
