/**
 * Work that is done again and again at an interval, from a first time at once until its signal fires. Node's timers are monotonic: a clock that is set doesn't disturb them.
 * A failure is told to `onFailure` and the next round tries again.
 */
import { setTimeout as sleep } from "node:timers/promises";

/** Resolves when the signal has fired and the round under way is over. */
export async function repeat(
  options: { readonly everyMs: number; readonly signal: AbortSignal; readonly onFailure: (error: unknown) => void },
  round: () => Promise<void>,
): Promise<void> {
  const { everyMs, signal, onFailure } = options;
  while (!signal.aborted) {
    await round().catch((error: unknown) => {
      if (!signal.aborted) onFailure(error);
    });
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
}
