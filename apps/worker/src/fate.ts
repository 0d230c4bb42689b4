/**
 * What a failure means for the work at hand: an item's own fault (a line of the results), or a fault that passes (thrown, tried again).
 * Owns that one question; the codes' traits stand in the table of contracts.
 */
import { isCoded, type CodedError, type ErrorCode } from "@flamboyance/contracts";

const passingCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "storage_unavailable",
  "storage_changed",
  "storage_invalid_response",
  "service_unavailable",
  "internal_error",
  "engine_failed",
  "aborted",
]);

/** True for a fault that belongs to the item or the input itself. Anything without a code is a fault of ours: it passes, or it is found in the log. */
export function isOwnFault(error: unknown): error is CodedError {
  return isCoded(error) && !passingCodes.has(error.code);
}
