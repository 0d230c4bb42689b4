/**
 * DELETE: an ended batch's bytes go, for good. deleted.json is the decision: once it stands the id answers 404, and the sweep takes everything, again and again while it
 * stands. Refuses a batch that hasn't ended, and one whose lineage has a retry without a plan: that is copied from the plans of those before it.
 */
import { CodedError, deletion, shownStatus, type Deletion } from "@flamboyance/contracts";
import { batchKeys, readJson } from "@flamboyance/storage";
import type { ApiContext } from "./context.ts";
import { conflict } from "./control.ts";
import { findLineage } from "./lineage.ts";
import { isBatchId } from "./stored-batch.ts";
import { enterBatch } from "./submit.ts";

/** Safe to call again: while the batch is being taken away it answers as the first time. */
export async function deleteBatch(context: ApiContext, tenant: string, id: string, signal: AbortSignal): Promise<void> {
  const { queue, storage, bucket } = context;
  const location = { bucket, key: batchKeys(id).deleted };
  const standing = isBatchId(id) ? await readJson(storage, location, deletion, signal) : null;
  if (standing !== null && standing.tenant === tenant) return queue.forgetDeleted({ id, tenant });
  const { members, next } = await findLineage(context, tenant, id, signal);
  const own = members.find(({ request }) => request.id === id);
  const newest = members.at(-1);
  if (own === undefined || newest === undefined) throw new CodedError("not_found", `There is no batch ${id}.`, { param: "id" });
  if (own.state.kind === "begun") throw new CodedError("service_unavailable", `${id} is being rebuilt.`);
  if (own.state.kind === "runs") throw conflict("delete", id, own.state.status);
  // What broke off goes on, whoever comes by.
  if (newest.state.kind === "begun") await enterBatch(context, newest.request, true, signal);
  const started = await queue.startDelete({ id, newest: newest.request.id, next });
  if (started.kind === "refused") throw conflict("delete", id, started.status);
  if (started.kind === "retried") {
    const retry = newest.state.kind === "ended" ? next : newest.request.id;
    throw new CodedError(
      "conflict",
      `${id} has a retry, ${retry}, that is ${shownStatus("validating")}: it copies from ${id} what it runs.`,
    );
  }
  const lineage = own.request.retry?.lineage;
  const decided: Deletion = {
    tenant,
    deleted_at: await queue.now(),
    because: "asked",
    ...(lineage === undefined ? {} : { lineage }),
  };
  await storage.write(location, JSON.stringify(decided), { contentType: "application/json", signal });
  await queue.forgetDeleted({ id, tenant, next });
}
