/**
 * Cancel: take a number, write the control object, then let the queue decide. The order makes a cancel outlive the loss of Redis.
 * Refuses a batch that is sealed or ended otherwise, with `conflict`.
 */
import { CodedError, type RecordStatus } from "@flamboyance/contracts";
import type { BatchRecord, Queue } from "@flamboyance/queue";
import { newUlid } from "@flamboyance/queue";
import { batchKeys, type Storage } from "@flamboyance/storage";

/** Safe to call again while the batch is cancelling. */
export async function cancelBatch(
  { queue, storage, bucket }: { readonly queue: Queue; readonly storage: Storage; readonly bucket: string },
  { id, status }: BatchRecord,
  signal: AbortSignal,
): Promise<void> {
  if (status === "cancelling") return;
  const taken = await queue.takeNumber({ id, kind: "cancel" });
  if (taken.kind === "conflict") throw conflict(id, taken.status);
  if (taken.kind === "gone") throw new CodedError("service_unavailable", `${id} is being rebuilt.`);
  const key = batchKeys(id).control(taken.number, newUlid());
  await storage.write({ bucket, key }, JSON.stringify({ kind: "cancel" }), { contentType: "application/json", signal });
  const answer = await queue.applyCancel({ id, number: taken.number });
  if (answer.kind === "conflict") throw conflict(id, answer.status);
  if (answer.kind === "gone") throw new CodedError("service_unavailable", `${id} is being rebuilt.`);
}

export function conflict(id: string, status: RecordStatus): CodedError {
  return new CodedError("conflict", `${id} is ${status}: it can't be cancelled any more.`);
}
