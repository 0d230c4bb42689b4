/**
 * One request to S3, given up with its caller's signal.
 * Owns nothing but the translation of failures: whatever goes wrong comes out as a CodedError.
 */
import { abortFailure, storageFailure } from "./failure.ts";

/**
 * Runs a request of the SDK. The signal ends the wait at once, also where the SDK sleeps between two tries (it looks at the signal only when it sends).
 * `what` names the request in errors, as "GET s3://bucket/key".
 */
export async function request<Answer>(
  what: string,
  signal: AbortSignal,
  run: (handling: { abortSignal: AbortSignal }) => Promise<Answer>,
): Promise<Answer> {
  if (signal.aborted) throw abortFailure(signal, what);
  const gaveUp = Promise.withResolvers<never>();
  const giveUp = (): void => gaveUp.reject(abortFailure(signal, what));
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    return await Promise.race([run({ abortSignal: signal }), gaveUp.promise]);
  } catch (error) {
    throw storageFailure(error, what, signal);
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}
