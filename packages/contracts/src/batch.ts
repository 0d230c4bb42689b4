/** The Batch object and the lists around it, as the wire shows them: OpenAI's fields, then ours. Timestamps are Unix seconds. */
import { z } from "zod";
import { priority, task } from "./dataset.ts";
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
  /** Where the ended batch's files lie in the service's bucket; null before the end. */
  results: z
    .object({ output: z.string(), errors: z.string(), summary: z.string(), csv: z.string().optional(), parquet: z.string().optional() })
    .nullable(),
  priority: priority.describe("Which of your batches of this model goes first: the highest, then the oldest."),
  waiting_for: z.string().nullable().describe("Why nothing runs just now, as `worker for <model>`; null while something does."),
  dry_run: z.boolean().optional().describe("True where nothing was to run; its report is at `/report` once it has ended."),
  delivery: z.object({ status: z.enum(["pending", "delivered", "failed"]), error: z.string().nullable() }).nullable(),
});
export type Batch = z.infer<typeof batch>;

/** The answer to a DELETE. */
export const deletedBatch = z.object({ id: z.string(), object: z.literal("batch"), deleted: z.literal(true) });
export type DeletedBatch = z.infer<typeof deletedBatch>;

export const batchList = z.object({
  object: z.literal("list"),
  data: z.array(batch),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
});
export type BatchList = z.infer<typeof batchList>;
