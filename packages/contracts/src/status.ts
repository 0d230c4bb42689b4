/** A batch's statuses: OpenAI's and our `paused`. Owns which are ends. Refuses transitions: those are the queue's scripts. */
import { z } from "zod";

export const batchStatus = z.enum([
  "validating",
  "in_progress",
  "paused",
  "finalizing",
  "completed",
  "failed",
  "expired",
  "cancelling",
  "cancelled",
]);
export type BatchStatus = z.infer<typeof batchStatus>;

/** What a batch ends as; an end status never changes. */
export const batchOutcome = z.enum(["completed", "failed", "expired", "cancelled"]);
export type BatchOutcome = z.infer<typeof batchOutcome>;

/** The record's own statuses: the wire's, and `expiring`, which the wire shows as `finalizing`. */
export const recordStatus = z.enum([...batchStatus.options, "expiring"]);
export type RecordStatus = z.infer<typeof recordStatus>;

export function isEnded(status: RecordStatus): status is BatchOutcome {
  return batchOutcome.safeParse(status).success;
}

export function shownStatus(status: RecordStatus): BatchStatus {
  return status === "expiring" ? "finalizing" : status;
}
