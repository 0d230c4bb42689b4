import type { Control } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { replayControls } from "./replay.ts";

const request = { priority: 0, created_at: 100, expires_at: 1_000 };
type Entry = readonly [kind: Control["kind"], number: number];

/** A priority is for its number, a deadline for as many seconds. */
function controlOf([kind, number]: Entry): Control {
  if (kind === "priority") return { kind, priority: number };
  return kind === "deadline" ? { kind, completion_window: `${number}s` } : { kind };
}

/** Each was asked at ten times its number. */
const replayed = (start: "validating" | "in_progress", ...entries: readonly Entry[]) =>
  replayControls(
    start,
    request,
    entries.map((entry) => ({ number: entry[1], at: 10 * entry[1], control: controlOf(entry) })),
  );

it("an empty log leaves a batch as it was submitted", () => {
  expect(replayed("validating")).toMatchObject({ status: "validating", priority: 0, expiresAt: 1_000, number: 0, applied: 0 });
});

it("controls count in the order of their numbers, however they are listed", () => {
  expect(replayed("in_progress", ["resume", 2], ["pause", 1])).toMatchObject({ status: "in_progress", applied: 2 });
  expect(replayed("in_progress", ["pause", 2], ["resume", 1])).toMatchObject({ status: "paused", applied: 2 });
});

it("nothing undoes a cancel, and its first time is its time", () => {
  expect(replayed("in_progress", ["cancel", 1], ["resume", 2], ["pause", 3], ["cancel", 4])).toMatchObject({
    status: "cancelling",
    cancellingAt: 10,
    number: 4,
  });
});

it("what was never legal counts for nothing but its number", () => {
  expect(replayed("validating", ["pause", 3])).toMatchObject({ status: "validating", applied: 0, number: 3 });
  expect(replayed("in_progress", ["cancel", 1], ["priority", 2])).toMatchObject({ priority: 0, priorityNumber: 0, number: 2 });
});

it("the priority of the highest number holds, also in a paused batch", () => {
  expect(replayed("in_progress", ["priority", 5], ["pause", 1], ["priority", 3])).toMatchObject({
    status: "paused",
    priority: 5,
    priorityNumber: 5,
    applied: 1,
  });
});

it("the deadline of the highest number holds, counted from the submit, where it was legal", () => {
  expect(replayed("validating")).toMatchObject({ completionWindow: null, deadlineNumber: 0 });
  expect(replayed("validating", ["deadline", 7], ["deadline", 5])).toMatchObject({
    completionWindow: "7s",
    expiresAt: 107,
    deadlineNumber: 7,
  });
  expect(replayed("in_progress", ["cancel", 1], ["deadline", 5])).toMatchObject({ completionWindow: null, expiresAt: 1_000, number: 5 });
});

it("a limit of failures that a resume took off stays off", () => {
  const entries = [
    { number: 1, at: 10, control: { kind: "resume", lifts: "max_failed" } as const },
    { number: 2, at: 20, control: { kind: "pause" } as const },
    { number: 3, at: 30, control: { kind: "resume" } as const },
  ];
  expect(replayControls("in_progress", request, entries)).toMatchObject({ maxFailedLifted: true, status: "in_progress" });
  expect(replayControls("in_progress", request, entries.slice(1))).toMatchObject({ maxFailedLifted: false });
});
