import { batch as batchSchema, type Batch } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { formatBatch, formatBatches } from "./batches.ts";
import { summary } from "./watch.ts";

it("tells items that never ran from those that failed", () => {
  const cancelled = ended("cancelled", { total: 200, completed: 120, failed: 80 }, 77);
  expect(summary(cancelled)).toContain("batch_1 cancelled: 120 of 200 completed, 3 failed, 77 never ran, 9 s\n");
  expect(summary(cancelled)).toContain("flamboyance errors batch_1");
  expect(formatBatch(cancelled)).toContain("120 completed, 3 failed, 77 never ran of 200");
  expect(formatBatches([cancelled]).split("\n")[2]).toMatch(/^batch_1 +cancelled +123\/200 +3 /);
  expect(formatBatches([{ ...cancelled, dry_run: true }])).toContain("caption (dry run)");
  const whole = ended("completed", { total: 2, completed: 2, failed: 0 }, 0);
  expect(summary(whole)).toContain("2 of 2 completed, 0 failed, 9 s\n");
  expect(summary(whole)).not.toContain("flamboyance errors");
});

it("says how many items took an answer instead of running, where some did", () => {
  const whole = ended("completed", { total: 9, completed: 9, failed: 0 }, 0);
  const some = { ...whole, saved: { copied: 2, reused: 3 } };
  expect(summary(some)).toContain("  didn't run: 2 copied from items of the batch, 3 reused from earlier batches\n");
  expect(formatBatch(some)).toContain("didn't run  2 copied from items of the batch, 3 reused from earlier batches\n");
  for (const text of [summary(whole), formatBatch(whole)]) expect(text).not.toContain("didn't run");
});

function ended(status: Batch["status"], request_counts: Batch["request_counts"], never_ran: number): Batch {
  const times = ["in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at"];
  const rest = ["errors", "input_file_id", "output_file_id", "error_file_id", "metadata", "output", "retry_of", "results", "delivery"];
  const ours = ["max_failed", "paused_reason", "waiting_for", "expires_at"];
  return batchSchema.parse({
    ...Object.fromEntries([...times, ...rest, ...ours].map((name) => [name, null])),
    id: "batch_1",
    object: "batch",
    endpoint: "/v1/chat/completions",
    model: "demo",
    completion_window: "24h",
    status,
    created_at: 1,
    [`${status}_at`]: 10,
    priority: 0,
    stored_bytes: 0,
    never_ran,
    saved: { copied: 0, reused: 0 },
    request_counts,
    usage: {
      input_tokens: 0,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 0,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 0,
    },
    task: "caption",
    input: "s3://photos/",
  });
}
