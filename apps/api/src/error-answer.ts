/**
 * Every failed answer: whatever was thrown becomes a row of the error table and OpenAI's body of four fields.
 * A fault of our own says no more than its request id; the log has the rest.
 */
import { CodedError, isCoded, toErrorBody, type ErrorCode } from "@flamboyance/contracts";
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

/** The codes that a request may be answered with. Any other one that gets here is our fault: its message may tell what isn't the caller's. */
const answerable: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "invalid_request",
  "invalid_cursor",
  "authentication_required",
  "invalid_api_key",
  "scope_missing",
  "rate_limited",
  "bucket_not_allowed",
  "not_found",
  "model_not_found",
  "idempotency_mismatch",
  "output_not_writable",
  "manifest_not_found",
  "manifest_forbidden",
  "empty_file",
  "conflict",
  "nothing_to_retry",
  "quota_exceeded",
  "payload_too_large",
  "service_unavailable",
]);

const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["storage_unavailable", "storage_changed", "storage_invalid_response"]);

/** Seconds after which a client may try again, on 429 and 503. */
const retryAfterSeconds = 2;

/** The same, where a quota is used up. */
const quotaRetrySeconds = 60;

export function answerErrors(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, request, reply) => answerError(error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const message = `There is no ${request.method} ${request.url.split("?")[0] ?? ""}.`;
    return answerError(new CodedError("not_found", message), request, reply);
  });
}

/** Also for what Fastify answers before any route (a path that can't be decoded). */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const coded = toCoded(error, request.id);
  if (coded.code === "internal_error") request.log.error({ err: error }, "a request failed by our own fault");
  else if (coded.status >= 500) request.log.warn({ err: error }, "a request failed by a passing fault");
  // Batches end in minutes or hours: a client that tries again by itself would only wait.
  if (coded.code === "quota_exceeded") void reply.headers({ "retry-after": String(quotaRetrySeconds), "x-should-retry": "false" });
  // Unless whoever refused it knows better.
  if ((coded.status === 503 || coded.status === 429) && !reply.hasHeader("retry-after"))
    void reply.header("retry-after", String(retryAfterSeconds));
  // Beside the routes' schemas on purpose: an error's body is always this.
  return reply
    .code(coded.status)
    .type("application/json; charset=utf-8")
    .header("x-request-id", request.id)
    .serializer(JSON.stringify)
    .send(toErrorBody(coded));
}

function toCoded(error: unknown, requestId: string): CodedError {
  if (isCoded(error)) {
    if (error.code === "aborted") return new CodedError("service_unavailable", whyGivenUp(error.cause), { cause: error });
    if (passing.has(error.code)) return new CodedError("service_unavailable", "S3 doesn't answer just now.", { cause: error });
    // A storage code is about the service's own bucket here: submit gives each refusal of a caller's bucket its meaning.
    return answerable.has(error.code) ? error : internal(requestId, error);
  }
  if (isFastifyError(error)) {
    if (error.code === "FST_ERR_HANDLER_TIMEOUT") return new CodedError("service_unavailable", tooLong, { cause: error });
    if (error.statusCode === 413) return new CodedError("payload_too_large", "The request's body is larger than 4 MiB.");
    if (error.statusCode === 415)
      return new CodedError("invalid_request", "The request's body must be JSON (content-type: application/json).");
    if (error.statusCode === 404 || error.statusCode === 414) return new CodedError("not_found", "There is no such route or object.");
    if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500)
      return new CodedError("invalid_request", error.message);
  }
  return internal(requestId, error);
}

const tooLong = "The answer took too long; the request may be repeated.";

/** By the reason of the signal that ended the wait. */
function whyGivenUp(reason: unknown): string {
  return reason instanceof DOMException && reason.name === "TimeoutError" ? tooLong : "The request was given up.";
}

function internal(requestId: string, cause: unknown): CodedError {
  return new CodedError("internal_error", `The service failed on this request (${requestId}).`, { cause });
}

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && "statusCode" in error && (typeof error.statusCode === "number" || error.statusCode === undefined);
}
