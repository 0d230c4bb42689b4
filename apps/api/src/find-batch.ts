/**
 * A batch by its id, for the tenant that asks: its record in Redis, or where that is gone, or Redis away, what S3 says of its end.
 * Another tenant's batch is not found, as if it weren't there.
 */
import { CodedError, isCoded, type After, type BatchRequest, type End } from "@flamboyance/contracts";
import type { BatchRecord, Queue } from "@flamboyance/queue";
import type { Storage } from "@flamboyance/storage";
import { isBatchId, readStoredBatch } from "./stored-batch.ts";

export type FoundBatch =
  | { readonly kind: "record"; readonly record: BatchRecord }
  | { readonly kind: "stored"; readonly request: BatchRequest; readonly end: End; readonly after: After | null };

/** Throws `not_found`, never where Redis is silent; `service_unavailable` for one that stands in S3 and hasn't ended, but has no record (it is being rebuilt). */
export async function findBatch(
  { queue, storage, bucket }: { readonly queue: Queue; readonly storage: Storage; readonly bucket: string },
  tenant: string,
  id: string,
  signal: AbortSignal,
): Promise<FoundBatch> {
  const none = new CodedError("not_found", `There is no batch ${id}.`, { param: "id" });
  if (!isBatchId(id)) throw none;
  const found = await queue.batch(id).catch(silence);
  if (found !== null && !isCoded(found)) {
    if (found.tenant !== tenant) throw none;
    return { kind: "record", record: found };
  }
  const stored = await readStoredBatch(storage, bucket, id, signal);
  if (stored === null || stored.request.tenant !== tenant) throw found ?? none;
  if (stored.end === null) throw found ?? new CodedError("service_unavailable", `${id} is being rebuilt.`);
  return { kind: "stored", request: stored.request, end: stored.end, after: stored.after };
}

/** Redis is away or being rebuilt; an end stands in S3 all the same. */
function silence(error: unknown): CodedError {
  if (isCoded(error, "service_unavailable")) return error;
  throw error;
}
