/**
 * Retry: a new batch over the failed items of an ended one and of the retries before it; what ended stays as it is. Owns when there may be one, and what it takes over.
 * Its id follows from the batch that it follows, so that each has one retry at most, and a request that is repeated, or that comes twice at once, makes no second.
 */
import { createHash } from "node:crypto";
import { CodedError, completionWindowSeconds, limits, shownStatus, type BatchRequest, type RetryBatch } from "@flamboyance/contracts";
import { admit } from "./admit.ts";
import type { Caller } from "./caller.ts";
import { conflict } from "./control.ts";
import { countFailures, findLineage, withLines, type Member } from "./lineage.ts";
import { enterBatch, type SubmitContext } from "./submit.ts";

export interface RetrySubmission {
  readonly caller: Caller;
  /** Any batch of the lineage. */
  readonly id: string;
  readonly body: RetryBatch;
  /** The caller's own: the same key answers the same retry. */
  readonly idempotencyKey: string | null;
  /** The client repeats itself without a key: a retry of the same codes that runs is answered. */
  readonly repeated: boolean;
}

/** Resolves with the retry's id once its record stands. Throws `not_found`, `conflict`, `nothing_to_retry`, `idempotency_mismatch`, `quota_exceeded`, and `model_not_found` where the model is gone. */
export async function retryBatch(context: SubmitContext, submission: RetrySubmission, signal: AbortSignal): Promise<string> {
  const { caller, id, body, idempotencyKey, repeated } = submission;
  const codes = body.error_codes === undefined ? null : [...new Set(body.error_codes)].toSorted();
  const isSame = (member: Member): boolean => JSON.stringify(member.request.retry?.error_codes ?? null) === JSON.stringify(codes);
  const { members, next } = await findLineage(context, caller.tenant, id, signal);
  const newest = members.at(-1);
  if (newest === undefined) throw new CodedError("not_found", `There is no batch ${id}.`, { param: "id" });

  // What broke off goes on, whoever comes by.
  if (newest.state.kind === "begun") await enterBatch(context, newest.request, true, signal);
  const keyed = idempotencyKey === null ? undefined : members.find(({ request }) => request.retry?.idempotency_key === idempotencyKey);
  if (keyed !== undefined) {
    if (!isSame(keyed)) throw new CodedError("idempotency_mismatch", "The idempotency key was used with other error codes.");
    return keyed.request.id;
  }
  if (newest.state.kind !== "ended") {
    if (repeated && newest.request.retry !== undefined && isSame(newest)) return newest.request.id;
    throw stillRuns(id, newest);
  }
  await checkFailures(context, { id, members, codes }, signal);
  await checkModel(context, newest.request, signal);

  const token = createHash("sha256")
    .update(JSON.stringify([codes, idempotencyKey]))
    .digest("hex");
  // Before the id is taken, which keeps its lineage from being deleted: where there is no room, a delete is what makes some.
  await admit(context.queue, caller, next);
  const reserved = await context.queue.reserveRetry({ id: next, token });
  if (reserved === null) throw underWay(id, next);
  // From here on nothing of the lineage is deleted; what was, while this looked, isn't followed.
  const stand = new Set((await findLineage(context, caller.tenant, id, signal)).members.map(({ request }) => request.id));
  if (!members.every(({ request }) => stand.has(request.id)))
    throw new CodedError("conflict", `${id}: a batch of its lineage was just deleted.`);
  const wanted = freeze(newest.request, members, { id: next, caller, codes, idempotencyKey, createdAt: reserved.now });
  const standing = await enterBatch(context, wanted, true, signal);
  if (!isSame({ request: standing, state: { kind: "begun" } })) throw underWay(id, wanted.id);
  return standing.id;
}

function stillRuns(id: string, { request, state }: Member): CodedError {
  const status = state.kind === "begun" ? "validating" : state.status;
  if (request.id === id) return conflict("retry", id, status);
  return new CodedError("conflict", `${id} has a retry, ${request.id}, that is ${shownStatus(status)}: one at a time.`);
}

function underWay(id: string, retry: string): CodedError {
  return new CodedError("conflict", `${id} is being retried or deleted by another request (${retry}): one at a time.`);
}

async function checkFailures(
  context: SubmitContext,
  { id, members, codes }: { readonly id: string; readonly members: readonly Member[]; readonly codes: readonly string[] | null },
  signal: AbortSignal,
): Promise<void> {
  const readable = withLines(members);
  if (readable.length === 0) throw new CodedError("conflict", `${id} ended without a plan: it has no items that could be run again.`);
  if (members.length > limits.retries)
    throw new CodedError("conflict", `${id} was retried ${limits.retries} times, as often as it may be.`);
  const failures = await countFailures(context, readable, signal);
  const failing = (code: string): number => (failures.codes.get(code) ?? 0) - (failures.refused.get(code) ?? 0);
  const wanted = (codes ?? [...failures.codes.keys()]).reduce((total, code) => total + failing(code), 0);
  if (wanted > 0) return;
  const none = codes === null ? "no item of it failed" : `no item of it failed with ${codes.join(", ")}`;
  throw new CodedError(
    "nothing_to_retry",
    `${id}: ${none}${failures.refused.size === 0 ? "" : "; lines that the plan refused aren't items"}.`,
  );
}

/** Other bytes under the model's name would answer otherwise than the batch did: its lines and the retry's are read as one. */
async function checkModel({ catalogue, queue }: SubmitContext, { model }: BatchRequest, signal: AbortSignal): Promise<void> {
  if ((await queue.liveModels()).some(({ key }) => key === model.key)) return;
  const { key } = await catalogue.find(model.name, signal);
  if (key !== model.key) {
    throw new CodedError("conflict", `${model.name} isn't the model any more that the batch ran with, and no worker serves that one.`);
  }
}

/** All that decides an answer stays; the rights, the share and the deadline are the caller's of now. No second copy goes to the output: it would replace the batch's own. */
function freeze(
  followed: BatchRequest,
  members: readonly Member[],
  {
    id,
    caller,
    codes,
    idempotencyKey,
    createdAt,
  }: {
    readonly id: string;
    readonly caller: Caller;
    readonly codes: string[] | null;
    readonly idempotencyKey: string | null;
    readonly createdAt: number;
  },
): BatchRequest {
  return {
    ...followed,
    id,
    access: caller.access,
    weight: caller.weight,
    quotas: caller.quotas,
    created_at: createdAt,
    expires_at: createdAt + completionWindowSeconds(followed.completion_window),
    idempotency_key: null,
    output: null,
    retry: { lineage: members.map(({ request }) => request.id), error_codes: codes, idempotency_key: idempotencyKey },
  };
}
