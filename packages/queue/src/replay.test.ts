import type { Control } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { replayControls } from "./replay.ts";

const request = { priority: 0, expires_at: 1_000 };
type Entry = readonly [kind: Control["kind"], number: number];

/** Each was asked at ten times its number; a priority is for its number. */
const replayed = (start: "validating" | "in_progress", ...entries: readonly Entry[]) =>
  replayControls(
    start,
    request,
    entries.map(([kind, number]) => ({ number, at: 10 * number, control: kind === "priority" ? { kind, priority: number } : { kind } })),
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
