/** A batch's progress on the screen: a bar with rate and time left; without a terminal, a line at each change that matters. */
import { isEnded, type Batch } from "@flamboyance/contracts";
import { SingleBar } from "cli-progress";
import { howToGoOn } from "./batches.ts";
import { formatDuration } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export interface Progress {
  show(batch: Batch): void;
  stop(): void;
}

/** Writes to `err`, so that results can be piped. */
export function openProgress({ err }: Pick<Terminal, "err">, nowMs: () => number = () => performance.now()): Progress {
  return err.isTTY === true ? openBar(err, nowMs) : openLines(err, nowMs);
}

/** How every bar looks; `format` in cli-progress's words. */
export function newBar(stream: Terminal["err"], format: string): SingleBar {
  return new SingleBar({
    stream,
    format,
    barsize: 30,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    hideCursor: true,
    emptyOnZero: true,
    fps: 10,
  });
}

function openBar(err: Terminal["err"], nowMs: () => number): Progress {
  const pace = new Pace(nowMs);
  const bar = newBar(err, "{status} {bar} {value}/{total}  {pace}{failed}");
  let started = false;
  const hint = openHint(err);
  return {
    show(batch) {
      const { total, completed, failed } = batch.request_counts;
      const done = completed + failed - batch.never_ran;
      const shown = { status: statusText(batch), pace: paceText(batch, pace), failed: failedText(batch) };
      if (!started) bar.start(total, done, shown);
      started = true;
      bar.setTotal(total);
      bar.update(done, shown);
      hint(batch, "\n");
    },
    stop() {
      if (started) bar.stop();
    },
  };
}

function openLines(err: Terminal["err"], nowMs: () => number): Progress {
  const pace = new Pace(nowMs);
  const hint = openHint(err);
  let last = "";
  return {
    show(batch) {
      const { total, completed, failed } = batch.request_counts;
      const done = completed + failed - batch.never_ran;
      const tenths = total === 0 ? 0 : Math.floor((done * 10) / total);
      const text = paceText(batch, pace);
      const now = `${statusText(batch)} ${tenths}`;
      if (now === last) return;
      last = now;
      err.write(`${statusText(batch)} ${done}/${total}${text === "" ? "" : `  ${text}`}${failedText(batch)}\n`);
      hint(batch);
    },
    stop() {},
  };
}

/** Says once in each pause that `max_failed` made how the batch goes on. `before`: what ends an open line. */
function openHint(err: Terminal["err"]): (batch: Batch, before?: string) => void {
  let told = false;
  return (batch, before = "") => {
    const paused = batch.paused_reason !== null;
    if (paused && !told) err.write(`${before}  ${howToGoOn(batch)}\n`);
    told = paused;
  };
}

/** While a batch is being cancelled, items that never ran count as failed too, and nobody can tell them apart before the end. */
function failedText({ cancelling_at, status, never_ran, request_counts: { failed } }: Batch): string {
  if (cancelling_at !== null && !isEnded(status)) return "";
  return failed === never_ran ? "" : `  ${failed - never_ran} failed`;
}

function statusText(batch: Batch): string {
  if (batch.paused_reason !== null) return `${batch.status} (${batch.paused_reason})`;
  return batch.waiting_for === null ? batch.status : `${batch.status} (waiting for a ${batch.waiting_for})`;
}

/** None while the batch is paused: what still finishes then says nothing of the time left, and nor does the pause itself afterwards. */
function paceText({ status, request_counts: { total, completed, failed } }: Batch, pace: Pace): string {
  if (status !== "paused") return pace.text(completed + failed, total);
  pace.forget();
  return "";
}

const paceWindowMs = 30_000;

/** Lines a second over the last half minute, and from it the time left. */
export class Pace {
  readonly #nowMs: () => number;
  readonly #seen: { readonly atMs: number; readonly done: number }[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** From here on as if nothing had been seen before. */
  forget(): void {
    this.#seen.length = 0;
  }

  /** Empty while nothing can be said. */
  text(done: number, total: number): string {
    const pace = this.measure(done, total);
    if (pace === null) return "";
    const rate = pace.perSecond >= 10 ? pace.perSecond.toFixed(0) : pace.perSecond.toFixed(1);
    return `${rate}/s, ${formatDuration(pace.secondsLeft)} left`;
  }

  /** Null while nothing can be said. */
  measure(done: number, total: number): { readonly perSecond: number; readonly secondsLeft: number } | null {
    const atMs = this.#nowMs();
    this.#seen.push({ atMs, done });
    while (this.#seen.length > 2 && (this.#seen[0]?.atMs ?? atMs) < atMs - paceWindowMs) this.#seen.shift();
    const first = this.#seen[0];
    if (first === undefined || done >= total || done === first.done || atMs === first.atMs) return null;
    const perSecond = ((done - first.done) * 1_000) / (atMs - first.atMs);
    return { perSecond, secondsLeft: (total - done) / perSecond };
  }
}
