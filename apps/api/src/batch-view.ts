/**
 * The Batch object as the wire shows it, from the record in Redis or, where that is gone, from S3's batch.json and end.json.
 * Owns the mapping of names and times. Refuses to look anything up.
 */
import {
  shownStatus,
  type After,
  type Batch,
  type BatchRequest,
  type End,
  type LineError,
  type RecordStatus,
  type Usage,
} from "@flamboyance/contracts";
import type { BatchRecord } from "@flamboyance/queue";
import { formatLocation } from "@flamboyance/storage";

export interface ViewContext {
  /** The service's bucket. */
  readonly bucket: string;
  /** Model keys that a live worker serves. */
  readonly servedModels: ReadonlySet<string>;
}

export function viewRecord(record: BatchRecord, { bucket, servedModels }: ViewContext): Batch {
  const { status } = record;
  const endedAt = (as: Batch["status"]) => (status === as ? record.endedAt : null);
  const waits = waitsForWorker(status, record.model.key, servedModels);
  return {
    ...fixedFields,
    id: record.id,
    model: record.model.name,
    errors: lineErrors(record.errors),
    completion_window: record.completionWindow,
    status: shownStatus(status),
    created_at: record.createdAt,
    in_progress_at: record.inProgressAt,
    expires_at: record.expiresAt,
    finalizing_at: record.finalizingAt,
    completed_at: endedAt("completed"),
    failed_at: endedAt("failed"),
    expired_at: endedAt("expired"),
    cancelling_at: record.cancellingAt,
    cancelled_at: endedAt("cancelled"),
    request_counts: { total: record.items + record.refused, completed: record.completed, failed: record.failed },
    usage: usageOf(record),
    metadata: record.metadata,
    task: record.task,
    input: record.input,
    output: record.output,
    retry_of: record.retry?.lineage.at(-1) ?? null,
    results: locations(bucket, record.files),
    priority: record.priority,
    stored_bytes: record.storedBytes,
    never_ran: record.neverRan,
    saved: record.saved,
    max_failed: record.max_failed ?? null,
    paused_reason: record.pausedReason,
    waiting_for: waits ? `worker for ${record.model.name}` : null,
    ...(record.dry_run === true ? { dry_run: true } : {}),
    delivery: record.delivery,
  };
}

/** Whether the batch would run if a worker served its model. */
export function waitsForWorker(status: RecordStatus, modelKey: string, servedModels: ReadonlySet<string>): boolean {
  return (status === "validating" || status === "in_progress") && !servedModels.has(modelKey);
}

/** An ended batch that has no record any more. */
export function viewStored(request: BatchRequest, end: End, after: After | null, bucket: string): Batch {
  const endedAt = (as: Batch["status"]) => (end.status === as ? end.ended_at : null);
  const { completion_window, expires_at, priority } = end.terms ?? request;
  return {
    ...fixedFields,
    id: request.id,
    model: request.model.name,
    errors: lineErrors(end.errors),
    completion_window,
    status: end.status,
    created_at: request.created_at,
    in_progress_at: end.in_progress_at,
    expires_at,
    finalizing_at: end.finalizing_at,
    completed_at: endedAt("completed"),
    failed_at: endedAt("failed"),
    expired_at: endedAt("expired"),
    cancelling_at: end.cancelling_at,
    cancelled_at: endedAt("cancelled"),
    request_counts: end.counts,
    usage: end.usage,
    metadata: request.metadata,
    task: request.task,
    input: request.input,
    output: request.output,
    retry_of: request.retry?.lineage.at(-1) ?? null,
    results: locations(bucket, end.files),
    priority,
    stored_bytes: end.stored_bytes ?? 0,
    never_ran: end.never_ran ?? 0,
    saved: end.saved ?? { copied: 0, reused: 0 },
    max_failed: request.max_failed ?? null,
    paused_reason: null,
    waiting_for: null,
    ...(request.dry_run === true ? { dry_run: true } : {}),
    delivery: after?.delivery ?? (request.output === null || end.files === null ? null : { status: "pending", error: null }),
  };
}

/** What no batch over a dataset has: OpenAI's file ids. */
const fixedFields = {
  object: "batch",
  endpoint: "/v1/chat/completions",
  input_file_id: null,
  output_file_id: null,
  error_file_id: null,
} as const;

function lineErrors(data: readonly LineError[]): Batch["errors"] {
  return data.length === 0 ? null : { object: "list", data: [...data] };
}

function usageOf(counts: { inputTokens: number; cachedTokens: number; outputTokens: number }): Usage {
  return {
    input_tokens: counts.inputTokens,
    input_tokens_details: { cached_tokens: counts.cachedTokens },
    output_tokens: counts.outputTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: counts.inputTokens + counts.outputTokens,
  };
}

function locations(bucket: string, files: End["files"]): Batch["results"] {
  if (files === null) return null;
  const at = (key: string) => formatLocation({ bucket, key });
  return {
    output: at(files.output.key),
    errors: at(files.errors.key),
    summary: at(files.summary.key),
    ...(files.csv === undefined ? {} : { csv: at(files.csv.key) }),
    ...(files.parquet === undefined ? {} : { parquet: at(files.parquet.key) }),
  };
}
