/** What a batch's owner asks for, and how: again and again until there is an answer, as a patient client would. Owns which refusals are answers. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { FlamboyanceError, type Client } from "@flamboyance/client";
import { isCoded, isEnded, type Batch } from "@flamboyance/contracts";
import type { RoundPlan } from "./plan-round.ts";

export const lookEveryMs = 50;

/** Asks again until there is an answer; a refusal is one. */
export async function insist<Answer>(signal: AbortSignal, ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isPassing(error) || signal.aborted) throw error;
      await sleep(lookEveryMs, undefined, { signal });
    }
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof FlamboyanceError || isCoded(error) ? error.retryable : false;
}

/** What is wished while the batch runs. True where a cancel was answered as done. */
export async function grant(
  { batches }: Client,
  { wish }: RoundPlan,
  id: string,
  rows: () => number,
  signal: AbortSignal,
): Promise<boolean> {
  if (wish.kind === "none" || wish.kind === "expiry") return false;
  while (rows() < wish.rows) {
    if (isEnded((await insist(signal, () => batches.get(id))).status)) return false;
    await sleep(lookEveryMs, undefined, { signal });
  }
  // A conflict: it was over before.
  const asked = async (ask: () => Promise<Batch>): Promise<boolean> => {
    try {
      await insist(signal, ask);
      return true;
    } catch (error) {
      if (error instanceof FlamboyanceError && error.code === "conflict") return false;
      throw error;
    }
  };
  if (wish.kind === "cancel") return asked(() => batches.cancel(id));
  if (await asked(() => batches.pause(id))) {
    await sleep(wish.forMs, undefined, { signal });
    await asked(() => batches.resume(id));
  }
  return false;
}

export type RetryAnswer = { readonly kind: "refused"; readonly code: string } | { readonly kind: "made"; readonly id: string };

/** Of a batch that has ended. */
export async function askRetry({ batches }: Client, id: string, signal: AbortSignal): Promise<RetryAnswer> {
  const idempotencyKey = randomUUID();
  try {
    return { kind: "made", id: (await insist(signal, () => batches.retry(id, { idempotencyKey }))).id };
  } catch (error) {
    if (error instanceof FlamboyanceError && !error.retryable) return { kind: "refused", code: error.code };
    throw error;
  }
}
