/**
 * Why a job is given up: the reason of its one AbortSignal. Owns the reasons and how to read them back.
 * Cancelled and expired cut the job's part short; shutdown hands the job back.
 */

export type StopKind = "cancelled" | "expired" | "ended" | "shutdown";

export class JobStop extends Error {
  override readonly name = "JobStop";
  readonly kind: StopKind;

  constructor(kind: StopKind) {
    super(`the job was stopped: ${kind}`);
    this.kind = kind;
  }
}

/** Null while the signal runs; a foreign reason (a lock that was lost) counts as a shutdown of this job. */
export function stopKind(signal: AbortSignal): StopKind | null {
  if (!signal.aborted) return null;
  return signal.reason instanceof JobStop ? signal.reason.kind : "shutdown";
}
