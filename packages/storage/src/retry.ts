/**
 * How long and how often a passing fault is tried again: capped exponential backoff with full jitter.
 * Owns the one policy: the SDK's requests and interrupted bodies both follow it. Refuses waits that can't be given up.
 */
import type { S3ClientConfig } from "@aws-sdk/client-s3";
import { setTimeout as sleep } from "node:timers/promises";
import { abortFailure, isPassing } from "./failure.ts";

const firstBackoffMs = 100;
const longestBackoffMs = 2_000;

/** The wait before retry number `retry` (from 1): a random share of a doubling, capped span, so that many clients don't come back together. */
export function backoffMs(retry: number): number {
  return Math.ceil(Math.random() * Math.min(longestBackoffMs, firstBackoffMs * 2 ** (retry - 1)));
}

/** Waits, or throws `aborted`. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => {
    throw abortFailure(signal, "waiting to try again");
  });
}

/**
 * The policy in the SDK's form. Its own "standard" strategy isn't used: that stops trying for the whole process when many requests fail at once,
 * which is what an outage looks like.
 */
export function sdkRetryStrategy(retries: number): NonNullable<S3ClientConfig["retryStrategy"]> {
  const token = (count: number, delayMs: number) => ({ getRetryCount: () => count, getRetryDelay: () => delayMs });
  return {
    mode: "flamboyance",
    acquireInitialRetryToken: () => Promise.resolve(token(0, 0)),
    refreshRetryTokenForRetry: (previous, { error, retryAfterHint }) => {
      const count = previous.getRetryCount() + 1;
      if (count > retries || !isPassing(error)) return Promise.reject(new Error("no further try"));
      const hintMs = retryAfterHint === undefined ? 0 : retryAfterHint.getTime() - Date.now();
      return Promise.resolve(token(count, Math.max(backoffMs(count), Math.min(hintMs, longestBackoffMs))));
    },
    recordSuccess: () => {},
  };
}
