/** The Batch object and the lists around it, as the wire shows them: OpenAI's fields, then ours. Timestamps are Unix seconds. */
import { z } from "zod";
import { maxFailed, priority, task } from "./dataset.ts";
import { isErrorCode } from "./error-code.ts";
import { limits } from "./limits.ts";
import { batchStatus } from "./status.ts";

export const requestCounts = z.object({ total: z.int(), completed: z.int(), failed: z.int() });
export type RequestCounts = z.infer<typeof requestCounts>;

export const usage = z.object({
  input_tokens: z.int(),
  input_tokens_details: z.object({ cached_tokens: z.int() }),
  output_tokens: z.int(),
  output_tokens_details: z.object({ reasoning_tokens: z.int() }),
  total_tokens: z.int(),
});
export type Usage = z.infer<typeof usage>;

export const lineError = z.object({ code: z.string(), message: z.string(), param: z.string().nullable(), line: z.int().nullable() });
export type LineError = z.infer<typeof lineError>;

/** Items that took an answer instead of running. */
export const savedItems = z.object({
  copied: z.int().describe("From an item of the same batch."),
  reused: z.int().describe("From an earlier batch's results."),
});
export type SavedItems = z.infer<typeof savedItems>;

const time = z.int().nullable();

export const batch = z.object({
  id: z.string(),
  object: z.literal("batch"),
  endpoint: z.literal("/v1/chat/completions"),
  model: z.string(),
  errors: z.object({ object: z.literal("list"), data: z.array(lineError) }).nullable(),
  input_file_id: z.string().nullable(),
  completion_window: z.string(),
  status: batchStatus,
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  created_at: z.int(),
  in_progress_at: time,
  expires_at: time,
  finalizing_at: time,
  completed_at: time,
  failed_at: time,
  expired_at: time,
  cancelling_at: time,
  cancelled_at: time,
  request_counts: requestCounts,
  usage,
  metadata: z.record(z.string(), z.string()).nullable(),
  // ours
  task,
  input: z.string(),
  output: z.string().nullable(),
  retry_of: z.string().nullable().describe("The batch whose failed items this one runs again; null where it is no retry."),
  /** Where the ended batch's files lie in the service's bucket; null before the end. */
  results: z
    .object({ output: z.string(), errors: z.string(), summary: z.string(), csv: z.string().optional(), parquet: z.string().optional() })
    .nullable(),
  priority: priority.describe("Which of your batches of this model goes first: the highest, then the oldest."),
  stored_bytes: z
    .int()
    .describe("What it keeps in the service's bucket until it is deleted: its plan and its lines, at the end its results."),
  never_ran: z
    .int()
    .describe(
      "How many of the failed lines are of items that never ran, for a cancel or the deadline came first; known at the end, until then 0.",
    ),
  saved: savedItems.describe("Items that took an answer instead of running; known at the end, until then 0."),
  max_failed: maxFailed.nullable().describe("As submitted: it pauses the batch once more lines failed."),
  paused_reason: z.string().nullable().describe("Why the batch was paused by itself; null where you paused it, and where it isn't paused."),
  waiting_for: z.string().nullable().describe("Why nothing runs just now, as `worker for <model>`; null while something does."),
  dry_run: z.boolean().optional().describe("True where nothing was to run; its report is at `/report` once it has ended."),
  delivery: z.object({ status: z.enum(["pending", "delivered", "failed"]), error: z.string().nullable() }).nullable(),
});
export type Batch = z.infer<typeof batch>;

/** The answer to a DELETE. */
export const deletedBatch = z.object({ id: z.string(), object: z.literal("batch"), deleted: z.literal(true) });
export type DeletedBatch = z.infer<typeof deletedBatch>;

/** What a retry is asked for: which failed items, all without `error_codes`. */
export const retryBatch = z.strictObject({
  error_codes: z
    .array(z.string().max(limits.errorCodeCharacters).refine(isErrorCode, "isn't an error code"))
    .min(1)
    .max(limits.errorCodes)
    .optional()
    .describe("Only the items whose newest line failed with one of these codes; without them, all that failed."),
});
export type RetryBatch = z.infer<typeof retryBatch>;

/** Failed lines by cause, the most frequent first. */
export const batchErrors = z.object({
  object: z.literal("list"),
  data: z.array(
    z.object({
      code: z.string(),
      count: z.int(),
      meaning: z.string().nullable().describe("Null for a code that this version doesn't know."),
      retryable: z.boolean().describe("True where the same item may succeed later."),
    }),
  ),
});
export type BatchErrors = z.infer<typeof batchErrors>;

export const batchList = z.object({
  object: z.literal("list"),
  data: z.array(batch),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
});
export type BatchList = z.infer<typeof batchList>;
