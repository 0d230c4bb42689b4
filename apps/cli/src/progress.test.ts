import { PassThrough } from "node:stream";
import { batch as batchSchema, type Batch } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { openProgress, Pace } from "./progress.ts";

it("tells the rate of the last half minute, and the time left", () => {
  let nowMs = 0;
  const pace = new Pace(() => nowMs);
  expect(pace.text(0, 1_000)).toBe("");
  nowMs = 10_000;
  expect(pace.text(50, 1_000)).toBe("5.0/s, 3 min 10 s left");
  // Ten times as fast from here: half a minute later nothing of the slow start counts.
  for (let second = 1; second <= 31; second++) {
    nowMs += 1_000;
    pace.text(50 + second * 20, 1_000);
  }
  expect(pace.text(670, 1_000)).toMatch(/^20\/s, 1[67] s left$/);
  expect(pace.text(1_000, 1_000)).toBe("");
});

it("writes a line for each change that matters where there is no terminal", () => {
  const err = new PassThrough();
  const progress = openProgress({ err }, () => 0);
  progress.show(batch("validating", 0, 0));
  progress.show(batch("in_progress", 100, 0));
  for (let done = 1; done <= 100; done++) progress.show(batch("in_progress", 100, done));
  progress.show(batch("completed", 100, 100));
  progress.stop();
  const lines = String(err.read()).trimEnd().split("\n");
  expect(lines).toHaveLength(13);
  expect(lines[0]).toBe("validating 0/0");
  expect(lines.at(-1)).toBe("completed 100/100");
});

it("tells no time left while the batch is paused, and counts the rate anew after it", () => {
  const err = new PassThrough();
  let nowMs = 0;
  const progress = openProgress({ err }, () => nowMs);
  const show = (status: Batch["status"], done: number) => {
    progress.show(batch(status, 100, done));
    nowMs += 10_000;
  };
  show("in_progress", 0);
  show("in_progress", 20);
  show("paused", 25);
  show("paused", 30);
  show("in_progress", 30);
  show("in_progress", 40);
  progress.stop();
  expect(String(err.read()).trimEnd().split("\n")).toEqual([
    "in_progress 0/100",
    "in_progress 20/100  2.0/s, 40 s left",
    "paused 25/100",
    "paused 30/100",
    "in_progress 30/100",
    "in_progress 40/100  1.0/s, 1 min 0 s left",
  ]);
});

it("says once in each pause of max_failed how the batch goes on", () => {
  const err = new PassThrough();
  const progress = openProgress({ err }, () => 0);
  const paused_reason = "3 of 100 items failed, more than max_failed (2) allows";
  for (const done of [3, 25]) progress.show({ ...batch("paused", 100, done), paused_reason });
  progress.stop();
  expect(String(err.read()).trimEnd().split("\n")).toEqual([
    `paused (${paused_reason}) 3/100`,
    "  go on with: flamboyance resume batch_1, or end it with: flamboyance cancel batch_1",
    `paused (${paused_reason}) 25/100`,
  ]);
});

function batch(status: Batch["status"], total: number, completed: number): Batch {
  const times = [
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
  ];
  const nulls = [
    "errors",
    "retry_of",
    "max_failed",
    "paused_reason",
    "input_file_id",
    "output_file_id",
    "error_file_id",
    "metadata",
    "output",
    "results",
    "waiting_for",
    "delivery",
  ];
  return batchSchema.parse({
    id: "batch_1",
    object: "batch",
    endpoint: "/v1/chat/completions",
    model: "demo",
    completion_window: "24h",
    status,
    created_at: 1,
    priority: 0,
    stored_bytes: 0,
    never_ran: 0,
    saved: { copied: 0, reused: 0 },
    request_counts: { total, completed, failed: 0 },
    usage: {
      input_tokens: 0,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 0,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 0,
    },
    task: "caption",
    input: "s3://photos/",
    ...Object.fromEntries([...times, ...nulls].map((name) => [name, null])),
  });
}
