/** Tries again what failed with hub_unavailable, with growing waits; whoever gets further each time may try for ever. Owns the bounds; refuses to know what is tried. */
import { setTimeout } from "node:timers/promises";
import { CodedError, isCoded } from "@flamboyance/contracts";

export interface Patience {
  readonly signal: AbortSignal;
  /** Waits between tries; a test's needn't. */
  readonly wait?: ((milliseconds: number, signal: AbortSignal) => Promise<void>) | undefined;
}

/** Tries in a row that get no further before it is given up. */
const fruitlessTries = 6;
const firstWaitMs = 1_000;

/** `reached` says how far the work has come, where it can get further from try to try. */
export async function patiently<T>(
  { signal, wait = waitFor }: Patience,
  work: () => Promise<T>,
  reached: () => Promise<number> = () => Promise.resolve(0),
): Promise<T> {
  for (let fruitless = 0; ;) {
    const before = await reached();
    try {
      return await work();
    } catch (error) {
      if (!isCoded(error, "hub_unavailable")) throw error;
      fruitless = (await reached()) > before ? 0 : fruitless + 1;
      if (fruitless === fruitlessTries) throw error;
      await wait(firstWaitMs * 2 ** fruitless, signal);
    }
  }
}

async function waitFor(milliseconds: number, signal: AbortSignal): Promise<void> {
  await setTimeout(milliseconds, undefined, { signal }).catch((error: unknown) => {
    throw new CodedError("aborted", "the download was given up", { cause: error });
  });
}
