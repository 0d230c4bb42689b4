/**
 * The finalize job, and what follows an end: the seal's object → the fence → final/ → end.json → `end` → delivery → after.json → `settle` → the marker goes.
 * Owns the order. Safe to run twice and by twins at once: everything written follows from the seal, and each decision is a script's.
 */
import {
  after as afterSchema,
  batchRequest,
  CodedError,
  end as endSchema,
  plan as planSchema,
  type After,
  type BatchRequest,
  type End,
  type Seal,
} from "@flamboyance/contracts";
import type { BatchRecord, Queue } from "@flamboyance/queue";
import { batchKeys, jsonLine, readJson, type Buckets, type Storage } from "@flamboyance/storage";
import { deliver } from "./deliver.ts";
import { writeFinalFiles } from "./final-files.ts";
import type { Metrics } from "./metrics.ts";

export interface FinalizeDependencies {
  readonly storage: Storage;
  readonly buckets: Pick<Buckets, "of">;
  readonly queue: Queue;
  readonly serviceBucket: string;
  readonly metrics: Metrics;
}

/** `signal` fires when the worker shuts down or the job's lock is lost: the job is handed back and done from its beginning elsewhere. */
export async function runFinalize(dependencies: FinalizeDependencies, id: string, signal: AbortSignal): Promise<"done" | "hand_back"> {
  try {
    await finalize(dependencies, id, signal);
    return "done";
  } catch (error) {
    if (signal.aborted) return "hand_back";
    throw error;
  }
}

async function finalize(dependencies: FinalizeDependencies, id: string, signal: AbortSignal): Promise<void> {
  const { storage, queue, serviceBucket: bucket, metrics } = dependencies;
  const claim = await queue.claimFinalize(id);
  if (claim.kind === "gone" || claim.kind === "stopped") return;
  const request = await readJson(storage, { bucket, key: batchKeys(id).request }, batchRequest, signal);
  if (request === null) throw new CodedError("internal_error", `${id}: its request isn't in S3`);
  let end = await readJson(storage, { bucket, key: batchKeys(id).end }, endSchema, signal);
  if (end === null) {
    if (claim.kind === "settle") throw new CodedError("internal_error", `${id} has ended, but its end isn't in S3`);
    end = await metrics.time("finalize", () => writeEnd(dependencies, request, claim.record, signal));
    if (end === null) return;
  }
  const ended = await queue.end({ id, end });
  // end.json is the truth, whatever the record says.
  if (ended.kind === "refused") await queue.copyEnd({ id, end });
  await settle(dependencies, request, end, signal);
}

/** Null where the fence refuses: another seal, or none. */
async function writeEnd(
  dependencies: FinalizeDependencies,
  request: BatchRequest,
  record: BatchRecord,
  signal: AbortSignal,
): Promise<End | null> {
  const { storage, queue, serviceBucket: bucket } = dependencies;
  const { id } = request;
  const keys = batchKeys(id);
  if (record.seal === null || record.outcome === null) return null;
  const parts = record.plan === null ? [] : await queue.parts({ id });
  // Settled by a twin meanwhile: its parts are forgotten, and a seal without them must never be written.
  if (record.plan !== null && parts.length !== record.chunks) return null;
  const seal: Seal = {
    seal: record.seal,
    outcome: record.outcome,
    plan: record.plan,
    parts,
    sealed_at: record.finalizingAt ?? record.createdAt,
    in_progress_at: record.inProgressAt,
    cancelling_at: record.cancellingAt,
    errors: [...record.errors],
    terms: { completion_window: record.completionWindow, expires_at: record.expiresAt, priority: record.priority },
  };
  const json = { contentType: "application/json", signal };
  await storage.write({ bucket, key: keys.seal(record.epoch, seal.seal) }, jsonLine(seal), json);
  const fence = await queue.sealed({ id, seal: seal.seal });
  if (fence.kind !== "sealed") return null;
  const plan = seal.plan === null ? null : await readJson(storage, { bucket, key: keys.plan(seal.plan).manifest }, planSchema, signal);
  // Without it the batch would end as if it had no items.
  if (seal.plan !== null && plan === null) throw new CodedError("internal_error", `${id}: its plan isn't in S3`);
  const end = await writeFinalFiles({ storage, bucket }, { request, seal, plan }, signal);
  await storage.write({ bucket, key: keys.end }, jsonLine(end), json);
  return end;
}

/** What follows the end. A delivery that is refused is recorded; one that may pass is thrown and comes back, and holds up no end. */
async function settle(dependencies: FinalizeDependencies, request: BatchRequest, end: End, signal: AbortSignal): Promise<void> {
  const { storage, buckets, queue, serviceBucket: bucket, metrics } = dependencies;
  const { id } = request;
  const keys = batchKeys(id);
  let after: After | null = await readJson(storage, { bucket, key: keys.after }, afterSchema, signal);
  if (after === null) {
    const delivery = await metrics.time("deliver", () => deliver({ storage, buckets, bucket, queue }, request, end, signal));
    after = { delivery };
    await storage.write({ bucket, key: keys.after }, jsonLine(after), { contentType: "application/json", signal });
  }
  const settled = await queue.settle({ id, after });
  if (settled.kind === "ended") await storage.remove([{ bucket, key: keys.marker }], { signal });
}
