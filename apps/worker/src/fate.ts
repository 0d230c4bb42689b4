/**
 * What a failure means for the work at hand: a fault of the item or the input itself (a line of the results, a failed batch),
 * or one that passes (thrown, tried again). Owns the list of the former; whatever isn't on it is never held against a caller.
 */
import { isCoded, type CodedError, type ErrorCode } from "@flamboyance/contracts";

const ownFaults: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "image_not_found",
  "image_forbidden",
  "image_changed",
  "image_too_large",
  "image_unsupported",
  "image_unreadable",
  "image_unavailable",
  "prompt_too_long",
  "item_failed",
  "invalid_request",
  "manifest_not_found",
  "manifest_forbidden",
  "manifest_unreadable",
  "manifest_too_large",
  "invalid_header",
  "invalid_line",
  "empty_file",
  "too_many_tasks",
  "bad_example",
  "poison_item",
  "poison_manifest",
  "nothing_to_retry",
  "quota_exceeded",
]);

/** True for a fault that belongs to the item or the input itself. */
export function isOwnFault(error: unknown): error is CodedError {
  return isCoded(error) && ownFaults.has(error.code);
}

/** True for what is away for all, and for a wait that was given up: no fault of the batch that is being looked at. */
export function isAway(error: unknown): boolean {
  return isCoded(error, "service_unavailable", "storage_unavailable", "aborted");
}
