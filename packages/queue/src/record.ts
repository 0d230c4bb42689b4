/**
 * A batch's record as Redis holds it: its status, counts and times, and what lists show. Owns the schema and its parse.
 * Refuses prompts, examples and items: those stay in S3.
 */
import { batchOutcome, batchRequest, end, isEnded, lineError, recordStatus } from "@flamboyance/contracts";
import type { BatchOutcome, BatchRequest, End, LineError, RecordStatus, SavedItems } from "@flamboyance/contracts";
import { z } from "zod";

/** Times are Unix seconds of Redis's clock; created and expires are the submit's. */
export interface BatchRecord extends Pick<
  BatchRequest,
  "id" | "tenant" | "model" | "task" | "input" | "output" | "metadata" | "dry_run" | "retry" | "max_failed"
> {
  /** As it stands now, and `expiresAt` with it. */
  readonly completionWindow: string;
  /** As it stands now. */
  readonly priority: number;
  readonly status: RecordStatus;
  /** Why it was paused by itself, where it was; null where its owner paused it, and where it isn't paused. */
  readonly pausedReason: string | null;
  /** The sentinel's when the record came about, or of its own rebuild: what is written in S3 of this record carries it in its name. 0 in rows of ended batches. */
  readonly epoch: number;
  /** The adopted plan; null until one is. */
  readonly plan: string | null;
  /** Items, chunks and refused lines of the adopted plan; 0 until one is. */
  readonly items: number;
  readonly chunks: number;
  readonly refused: number;
  /** Chunks that have their part. */
  readonly recorded: number;
  /** Chunks from the first on, without a gap, that have their part. */
  readonly frontier: number;
  /** Chunks from the first on whose parts a frontier object in S3 names: what readers may see before the seal. Never above `frontier`. */
  readonly confirmed: number;
  /** Lines so far, and in the end all: `failed` counts refused lines from the adoption on, so total = items + refused. */
  readonly completed: number;
  readonly failed: number;
  /** Of the failed, those that never ran; 0 until the end. */
  readonly neverRan: number;
  /** Items that took an answer instead of running; 0 until the end. */
  readonly saved: SavedItems;
  readonly inputTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  /** What it keeps in the service's bucket: its plan, and the parts so far; in the end its results in their place. */
  readonly storedBytes: number;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly inProgressAt: number | null;
  readonly expiringAt: number | null;
  readonly cancellingAt: number | null;
  /** The seal's time. */
  readonly finalizingAt: number | null;
  readonly endedAt: number | null;
  readonly seal: string | null;
  /** What the batch was sealed as; its status once it has ended. */
  readonly outcome: BatchOutcome | null;
  /** Why a plan was refused: at most `limits.errorsShown`. */
  readonly errors: readonly LineError[];
  /** Where the results lie; null before the end, and where the batch ended without a plan. */
  readonly files: End["files"];
  /** What follows the end is done (or given up): nothing is left to do for this batch. */
  readonly settled: boolean;
  /** Null where no output location was given, and where the batch ended without files to deliver. */
  readonly delivery: { readonly status: "pending" | "delivered" | "failed"; readonly error: string | null } | null;
}

/** The record from its hash; null where there is none. */
export function parseRecord(hash: Readonly<Record<string, string>>): BatchRecord | null {
  if (hash["status"] === undefined) return null;
  const fields = stored.parse(hash);
  const { completion_window, ...shown } = fields.shown;
  const nothingToDeliver = isEnded(fields.status) && fields.files === null;
  return {
    ...shown,
    completionWindow: fields.completion_window ?? completion_window,
    priority: fields.priority,
    id: fields.id,
    tenant: fields.tenant,
    status: fields.status,
    pausedReason: fields.status === "paused" ? fields.paused_reason : null,
    epoch: fields.epoch,
    plan: fields.plan,
    items: fields.items,
    chunks: fields.chunks,
    refused: fields.refused,
    recorded: fields.recorded,
    frontier: fields.frontier,
    confirmed: fields.confirmed,
    completed: fields.completed,
    failed: fields.failed,
    neverRan: fields.never_ran,
    saved: { copied: fields.copied, reused: fields.reused },
    inputTokens: fields.input_tokens,
    cachedTokens: fields.cached_tokens,
    outputTokens: fields.output_tokens,
    storedBytes: fields.stored_bytes,
    createdAt: fields.created_at,
    expiresAt: fields.expires_at,
    inProgressAt: fields.in_progress_at,
    expiringAt: fields.expiring_at,
    cancellingAt: fields.cancelling_at,
    finalizingAt: fields.finalizing_at,
    endedAt: fields.ended_at,
    seal: fields.seal,
    outcome: fields.outcome,
    errors: fields.errors,
    files: fields.files,
    settled: fields.settled,
    delivery: shown.output === null ? null : (fields.delivery ?? (nothingToDeliver ? null : { status: "pending", error: null })),
  };
}

/** A record's fields as they are stored; null: the field isn't there. */
export type RecordFields = Readonly<Record<string, string | number | null>>;

/** What the record keeps of the request, whatever becomes of it later. */
export function submittedFields(request: BatchRequest): Readonly<Record<string, string | number>> {
  const { id, tenant, created_at, expires_at, weight, priority, model, max_failed } = request;
  const bounds = max_failed === undefined ? {} : { max_failed };
  return { id, tenant, model: model.key, shown: JSON.stringify(shown.parse(request)), created_at, expires_at, weight, priority, ...bounds };
}

/** What the end adds to the record, as end.json says it; all but how many of its lines are items, which only the record tells from refused ones. */
export function endFields(ended: End): RecordFields {
  const { counts, usage } = ended;
  return {
    ...ended.terms,
    status: ended.status,
    outcome: ended.status,
    seal: ended.seal,
    completed: counts.completed,
    failed: counts.failed,
    never_ran: ended.never_ran ?? 0,
    copied: ended.saved?.copied ?? 0,
    reused: ended.saved?.reused ?? 0,
    input_tokens: usage.input_tokens,
    cached_tokens: usage.input_tokens_details.cached_tokens,
    output_tokens: usage.output_tokens,
    stored_bytes: ended.stored_bytes ?? 0,
    in_progress_at: ended.in_progress_at,
    cancelling_at: ended.cancelling_at,
    finalizing_at: ended.finalizing_at,
    ended_at: ended.ended_at,
    errors: JSON.stringify(ended.errors),
    files: JSON.stringify(ended.files),
  };
}

/** Fields without a value aren't there: that is how a record says null. */
export function flat(fields: RecordFields): (string | number)[] {
  return Object.entries(fields).flatMap(([name, value]) => (value === null ? [] : [name, value]));
}

const shown = batchRequest.pick({
  model: true,
  task: true,
  input: true,
  output: true,
  metadata: true,
  completion_window: true,
  dry_run: true,
  retry: true,
  max_failed: true,
});

const count = z.coerce.number().pipe(z.int()).default(0);
const time = z.coerce.number().pipe(z.int()).nullable().default(null);
const text = z.string().nullable().default(null);
const json = <Schema extends z.ZodType>(schema: Schema) =>
  z
    .string()
    .transform((value): unknown => JSON.parse(value))
    .pipe(schema);

const stored = z.object({
  id: z.string(),
  tenant: z.string(),
  status: recordStatus,
  shown: json(shown),
  created_at: z.coerce.number(),
  expires_at: z.coerce.number(),
  priority: count,
  paused_reason: text,
  completion_window: text,
  epoch: count,
  plan: text,
  items: count,
  chunks: count,
  refused: count,
  recorded: count,
  frontier: count,
  confirmed: count,
  completed: count,
  failed: count,
  never_ran: count,
  copied: count,
  reused: count,
  input_tokens: count,
  cached_tokens: count,
  output_tokens: count,
  stored_bytes: count,
  in_progress_at: time,
  expiring_at: time,
  cancelling_at: time,
  finalizing_at: time,
  ended_at: time,
  seal: text,
  outcome: batchOutcome.nullable().default(null),
  errors: json(z.array(lineError)).default([]),
  files: json(end.shape.files).default(null),
  settled: z
    .literal("1")
    .optional()
    .transform((value) => value === "1"),
  delivery: json(z.object({ status: z.enum(["delivered", "failed"]), error: z.string().nullable() }).nullable()).default(null),
});
