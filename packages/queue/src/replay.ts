/**
 * What a batch's control log comes to, read in the order of its numbers: as the scripts would have answered, by their own table of what is legal in which status.
 * For rebuilds. Refuses to know of seals and ends: those decide before any control does.
 */
import { completionWindowSeconds, type BatchRequest, type Control, type Rebuilt } from "@flamboyance/contracts";
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
  /** As a control changed it; null where none did. */
  readonly completionWindow: string | null;
  /** That of the deadline that holds. */
  readonly deadlineNumber: number;
  /** A resume took `max_failed` off. */
  readonly maxFailedLifted: boolean;
}

export function replayControls(
  start: "validating" | "in_progress",
  { priority, created_at: createdAt, expires_at: expiresAt }: Pick<BatchRequest, "priority" | "created_at" | "expires_at">,
  entries: readonly ControlEntry[],
): ReplayedControls {
  let replayed: ReplayedControls = {
    status: start,
    expiresAt,
    priority,
    cancellingAt: null,
    number: 0,
    applied: 0,
    priorityNumber: 0,
    completionWindow: null,
    deadlineNumber: 0,
    maxFailedLifted: false,
  };
  for (const entry of entries.toSorted((a, b) => a.number - b.number)) replayed = answer(replayed, entry, createdAt);
  return replayed;
}

function answer(before: ReplayedControls, { number, at, control }: ControlEntry, createdAt: number): ReplayedControls {
  const numbered = { ...before, number };
  if (!legalStatuses[control.kind].includes(before.status)) return numbered;
  switch (control.kind) {
    case "cancel":
      return { ...numbered, status: "cancelling", applied: number, cancellingAt: before.cancellingAt ?? at };
    case "pause":
      return { ...numbered, status: "paused", applied: number };
    case "resume":
      return {
        ...numbered,
        status: "in_progress",
        applied: number,
        maxFailedLifted: before.maxFailedLifted || control.lifts !== undefined,
      };
    case "priority":
      return { ...numbered, priority: control.priority, priorityNumber: number };
    case "deadline": {
      const { completion_window: completionWindow } = control;
      return {
        ...numbered,
        completionWindow,
        expiresAt: createdAt + completionWindowSeconds(completionWindow),
        deadlineNumber: number,
      };
    }
  }
}
