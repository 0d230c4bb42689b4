/** Progress of bytes on the screen: a bar with rate and time left; without a terminal, a line at each tenth. */
import { newBar, Pace } from "./progress.ts";
import { formatBytes, formatDuration } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export interface ByteProgress {
  show(doneBytes: number, totalBytes: number): void;
  stop(): void;
}

/** `label` says what happens, as `downloading`. Writes to `err`. */
export function openByteProgress(
  { err }: Pick<Terminal, "err">,
  label: string,
  nowMs: () => number = () => performance.now(),
): ByteProgress {
  return err.isTTY === true ? openBar(err, label, nowMs) : openLines(err, label, nowMs);
}

function openBar(err: Terminal["err"], label: string, nowMs: () => number): ByteProgress {
  const seen = paced(nowMs);
  const bar = newBar(err, "{label} {bar} {doneText} of {totalText}  {pace}");
  let started = false;
  return {
    show(doneBytes, totalBytes) {
      const pace = seen(doneBytes, totalBytes);
      const shown = { label, doneText: formatBytes(doneBytes), totalText: formatBytes(totalBytes), ...(pace === null ? {} : { pace }) };
      if (!started) bar.start(totalBytes, doneBytes, { pace: "", ...shown });
      else bar.update(doneBytes, shown);
      started = true;
    },
    stop() {
      if (started) bar.stop();
    },
  };
}

function openLines(err: Terminal["err"], label: string, nowMs: () => number): ByteProgress {
  const seen = paced(nowMs);
  let pace = "";
  let last = -1;
  return {
    show(doneBytes, totalBytes) {
      pace = seen(doneBytes, totalBytes) ?? pace;
      const tenths = totalBytes === 0 ? 10 : Math.floor((doneBytes * 10) / totalBytes);
      if (tenths === last) return;
      last = tenths;
      const text = pace === "" || tenths === 10 ? "" : `  ${pace}`;
      err.write(`${label}: ${tenths * 10} % of ${formatBytes(totalBytes)}${text}\n`);
    },
    stop() {},
  };
}

const looksMs = 500;

/** The pace as text, looked at twice a second: chunks come by the thousand. Null between looks. */
function paced(nowMs: () => number): (doneBytes: number, totalBytes: number) => string | null {
  const pace = new Pace(nowMs);
  let lookedAtMs = -Infinity;
  return (doneBytes, totalBytes) => {
    if (nowMs() - lookedAtMs < looksMs) return null;
    lookedAtMs = nowMs();
    const measured = pace.measure(doneBytes, totalBytes);
    return measured === null ? "" : `${formatBytes(measured.perSecond)}/s, ${formatDuration(measured.secondsLeft)} left`;
  };
}
