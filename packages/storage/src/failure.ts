/**
 * What an S3 failure means: the SDK's errors become codes of the table, by status and name, never by message.
 * Owns the mapping and the question "would another try help?". Refuses to decide what a code means for an item or a batch.
 */
import { CodedError, type ErrorCode } from "@flamboyance/contracts";

/** The coded form of whatever a call to S3 threw; `what` says what was tried, as "GET s3://bucket/key". */
export function storageFailure(error: unknown, what: string, signal?: AbortSignal): CodedError {
  if (error instanceof CodedError) return error;
  if (signal?.aborted === true) return abortFailure(signal, what);
  const { name, status, networkCode } = traitsOf(error);
  const reason = [name ?? networkCode ?? "an unknown error", status === null ? "" : `(HTTP ${status})`].join(" ").trim();
  return new CodedError(codeOf(error), `${what}: ${reason}`, { cause: error });
}

/** The failure of a wait that was given up; its cause is the signal's reason. */
export function abortFailure(signal: AbortSignal, what: string): CodedError {
  return new CodedError("aborted", `${what}: given up`, { cause: signal.reason });
}

/** True for what passes: no answer, a throttle, a 5xx. */
export function isPassing(error: unknown): boolean {
  return codeOf(error) === "storage_unavailable";
}

/** True where the SDK's error says that a range lies past the object's end. */
export function isPastTheEnd(error: unknown): boolean {
  return traitsOf(error).status === 416;
}

const codesByName: Readonly<Record<string, ErrorCode>> = {
  NoSuchKey: "storage_not_found",
  NoSuchBucket: "storage_not_found",
  NoSuchVersion: "storage_not_found",
  NotFound: "storage_not_found",
  // The upload went away under its writer (a sweep, or a complete whose answer was lost): writing anew mends it.
  NoSuchUpload: "storage_unavailable",
  NotImplemented: "storage_refused",
  InvalidBucketName: "storage_invalid_location",
  KeyTooLongError: "storage_invalid_location",
  PreconditionFailed: "storage_precondition_failed",
  ConditionalRequestConflict: "storage_unavailable",
  OperationAborted: "storage_unavailable",
  // Our own credentials ran out, were rotated or are wrong, or our clock is: that says nothing of the object, and must never become an item's or a manifest's
  // refusal. A HEAD's refusal has no name: its 403 stays `storage_forbidden` (and is asked again once).
  ExpiredToken: "storage_unavailable",
  InvalidAccessKeyId: "storage_unavailable",
  InvalidToken: "storage_unavailable",
  SignatureDoesNotMatch: "storage_unavailable",
  TokenRefreshRequired: "storage_unavailable",
  // versitygw's of an unknown access key, a 404.
  XAdminUserNotFound: "storage_unavailable",
  RequestTimeTooSkewed: "storage_unavailable",
  // 400s that pass: the body came too slowly, or broke on its way.
  RequestTimeout: "storage_unavailable",
  BadDigest: "storage_unavailable",
  IncompleteBody: "storage_unavailable",
  SlowDown: "storage_unavailable",
  Throttling: "storage_unavailable",
  ThrottlingException: "storage_unavailable",
  RequestLimitExceeded: "storage_unavailable",
  // The SDK's own: no answer in time.
  TimeoutError: "storage_unavailable",
  InternalError: "storage_unavailable",
  ServiceUnavailable: "storage_unavailable",
};

function codeOf(error: unknown): ErrorCode {
  if (error instanceof CodedError) return error.code;
  const { name, status, networkCode } = traitsOf(error);
  const named = name === null ? undefined : codesByName[name];
  if (named !== undefined) return named;
  if (networkCode !== null) return "storage_unavailable";
  if (status === null || status < 300) return "storage_invalid_response";
  if (status === 401 || status === 403) return "storage_forbidden";
  if (status === 404) return "storage_not_found";
  if (status === 412) return "storage_precondition_failed";
  if (status === 408 || status === 429 || status >= 500) return "storage_unavailable";
  return "storage_refused";
}

interface FailureTraits {
  readonly name: string | null;
  readonly status: number | null;
  /** Node's code of a socket or name lookup that failed, as ECONNRESET. */
  readonly networkCode: string | null;
}

function traitsOf(error: unknown): FailureTraits {
  if (typeof error !== "object" || error === null) return { name: null, status: null, networkCode: null };
  const name = "name" in error && typeof error.name === "string" && error.name !== "Error" ? error.name : null;
  const metadata = "$metadata" in error && typeof error.$metadata === "object" ? error.$metadata : null;
  const status =
    metadata !== null && "httpStatusCode" in metadata && typeof metadata.httpStatusCode === "number" ? metadata.httpStatusCode : null;
  const code = "code" in error && typeof error.code === "string" ? error.code : null;
  return {
    name,
    status,
    networkCode: code !== null && /^(?:E[A-Z]|HPE_|UND_ERR_|CERT_|ERR_(?:TLS|SSL|STREAM|SOCKET))/.test(code) ? code : null,
  };
}
