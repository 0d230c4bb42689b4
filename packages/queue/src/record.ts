/**
 * A batch's record as Redis holds it: its status, counts and times, and what lists show. Owns the schema and its parse.
 * Refuses prompts, examples and items: those stay in S3.
 */
import type { BatchOutcome, BatchRequest, End, LineError, RecordStatus } from "@flamboyance/contracts";

/** Times are Unix seconds of Redis's clock. */
export interface BatchRecord extends Pick<BatchRequest, "id" | "tenant" | "model" | "task" | "input" | "output" | "metadata"> {
  readonly completionWindow: string;
  readonly status: RecordStatus;
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
  readonly inputTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
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
  /** Why a plan was refused: at most `limits.lineErrorsShown`. */
  readonly errors: readonly LineError[];
  /** Where the results lie; null before the end, and where the batch ended without a plan. */
  readonly files: End["files"];
  /** What follows the end is done (or given up): nothing is left to do for this batch. */
  readonly settled: boolean;
  /** Null where no output location was given. */
  readonly delivery: { readonly status: "pending" | "delivered" | "failed"; readonly error: string | null } | null;
}
