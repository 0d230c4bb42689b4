/**
 * What a batch's control log comes to, read in the order of its numbers: as the scripts would have answered, by their own table of what is legal in which status.
 * For rebuilds. Refuses to know of seals and ends: those decide before any control does.
 */
import type { BatchRequest, Control, Rebuilt } from "@flamboyance/contracts";
import { legalStatuses } from "./scripts/control.ts";

/** One object of the control log. */
export interface ControlEntry {
  readonly number: number;
  /** Unix seconds, of the store's clock. */
  readonly at: number;
  readonly control: Control;
}

/** What holds after the log, and the numbers that the scripts keep of it. */
export interface ReplayedControls {
  readonly status: Rebuilt["status"];
  readonly expiresAt: number;
  readonly priority: number;
  readonly cancellingAt: number | null;
  /** The highest number that was taken. */
  readonly number: number;
  /** The highest of a cancel, pause or resume that counted, as the record's `applied`. */
  readonly applied: number;
  /** That of the priority that holds. */
  readonly priorityNumber: number;
}

export function replayControls(
  start: "validating" | "in_progress",
  { priority, expires_at: expiresAt }: Pick<BatchRequest, "priority" | "expires_at">,
  entries: readonly ControlEntry[],
): ReplayedControls {
  let replayed: ReplayedControls = { status: start, expiresAt, priority, cancellingAt: null, number: 0, applied: 0, priorityNumber: 0 };
  for (const entry of entries.toSorted((a, b) => a.number - b.number)) replayed = answer(replayed, entry);
  return replayed;
}

function answer(before: ReplayedControls, { number, at, control }: ControlEntry): ReplayedControls {
  const numbered = { ...before, number };
  if (!legalStatuses[control.kind].includes(before.status)) return numbered;
  switch (control.kind) {
    case "cancel":
      return { ...numbered, status: "cancelling", applied: number, cancellingAt: before.cancellingAt ?? at };
    case "pause":
      return { ...numbered, status: "paused", applied: number };
    case "resume":
      return { ...numbered, status: "in_progress", applied: number };
    case "priority":
      return { ...numbered, priority: control.priority, priorityNumber: number };
  }
}
