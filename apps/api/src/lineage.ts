/**
 * A batch and its retries, one after another, looked for from any of them: backwards by what a retry froze, forwards because a retry's id follows from that of the batch it follows.
 * Owns which of them there are and which have ended. Refuses to choose lines: the newest one of an item counts, which is for whoever reads them.
 */
import {
  isEnded,
  summary as summarySchema,
  type BatchOutcome,
  type BatchRequest,
  type End,
  type RecordStatus,
  type Summary,
} from "@flamboyance/contracts";
import { retryId, type Queue } from "@flamboyance/queue";
import { batchKeys, readJson, type Storage } from "@flamboyance/storage";
import { findBatch } from "./find-batch.ts";
import { readEnd, readRequest } from "./stored-batch.ts";

export interface LineageContext {
  readonly queue: Queue;
  readonly storage: Storage;
  /** The service's bucket. */
  readonly bucket: string;
}

export interface Member {
  readonly request: BatchRequest;
  readonly state:
    | { readonly kind: "ended"; readonly status: BatchOutcome; readonly seal: string; readonly files: End["files"] }
    | { readonly kind: "runs"; readonly status: RecordStatus }
    /** Its submit broke off before the record: only its request stands. */
    | { readonly kind: "begun" };
}

export interface Lineage {
  /** From the oldest to the newest; those that were deleted are left out. All but the newest have ended. */
  readonly members: readonly Member[];
  /** The id that the next retry has: it follows from that of the last one, deleted or not. */
  readonly next: string;
}

/** Throws as `findBatch`. A deleted retry is passed over: its deleted.json stands as long as a batch before it does. */
export async function findLineage(context: LineageContext, tenant: string, id: string, signal: AbortSignal): Promise<Lineage> {
  await findBatch(context, tenant, id, signal);
  const asked = await readRequest(context.storage, context.bucket, id, signal);
  const before = await Promise.all((asked?.retry?.lineage ?? []).map((older) => look(context, older, signal)));
  const members: (Member | "deleted" | null)[] = before;
  let next = id;
  for (let found = await look(context, next, signal); found !== null; found = await look(context, next, signal)) {
    members.push(found);
    next = retryId(next);
  }
  return { members: members.filter((member) => member !== null && member !== "deleted"), next };
}

/** A member that has ended with a plan: it has lines. */
export interface EndedMember {
  readonly request: BatchRequest;
  readonly seal: string;
  readonly files: NonNullable<End["files"]>;
}

export function withLines(members: readonly Member[]): EndedMember[] {
  return members.flatMap(({ request, state }) =>
    state.kind === "ended" && state.files !== null ? [{ request, seal: state.seal, files: state.files }] : [],
  );
}

/** Failed lines by code, of each item its newest line, and how many of them are refused lines of the manifest. */
export interface Failures {
  readonly codes: ReadonlyMap<string, number>;
  readonly refused: ReadonlyMap<string, number>;
}

/** Counted from the summaries alone: a retry of some codes takes all items with them away, and adds what failed again. */
export async function countFailures(context: LineageContext, members: readonly EndedMember[], signal: AbortSignal): Promise<Failures> {
  const codes = new Map<string, number>();
  const refused = new Map<string, number>();
  const add = (counts: Map<string, number>, more: Readonly<Record<string, number>>): void => {
    for (const [code, count] of Object.entries(more)) counts.set(code, (counts.get(code) ?? 0) + count);
  };
  for (const { request, files } of members) {
    const found = await readSummary(context, files, signal);
    if (request.retry !== undefined) {
      const rerun = request.retry.error_codes ?? [...codes.keys()];
      // Refused lines never ran, so they stay.
      for (const code of rerun) if (codes.has(code)) codes.set(code, refused.get(code) ?? 0);
    }
    add(codes, found?.codes ?? {});
    add(refused, found?.refused ?? {});
  }
  for (const [code, count] of codes) if (count === 0) codes.delete(code);
  return { codes, refused };
}

function readSummary({ storage, bucket }: LineageContext, files: EndedMember["files"], signal: AbortSignal): Promise<Summary | null> {
  return readJson(storage, { bucket, key: files.summary.key }, summarySchema, signal);
}

async function look({ queue, storage, bucket }: LineageContext, id: string, signal: AbortSignal): Promise<Member | "deleted" | null> {
  if ((await storage.describe({ bucket, key: batchKeys(id).deleted }, { signal })) !== null) return "deleted";
  const request = await readRequest(storage, bucket, id, signal);
  if (request === null) return null;
  const record = await queue.batch(id);
  if (record !== null) {
    const { status, seal, files } = record;
    return { request, state: isEnded(status) ? { kind: "ended", status, seal: seal ?? "", files } : { kind: "runs", status } };
  }
  const end = await readEnd(storage, bucket, id, signal);
  if (end === null) return { request, state: { kind: "begun" } };
  return { request, state: { kind: "ended", status: end.status, seal: end.seal, files: end.files } };
}
