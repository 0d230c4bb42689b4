import { CodedError, type ErrorCode } from "@flamboyance/contracts";
import { describe, expect, it } from "vitest";
import { isPassing, storageFailure } from "./failure.ts";

const sdkError = (name: string, httpStatusCode?: number) =>
  Object.assign(new Error("a message that nobody reads"), { name, $metadata: httpStatusCode === undefined ? {} : { httpStatusCode } });

describe("a failure of S3", () => {
  it.each<[string, number | undefined, ErrorCode]>([
    ["NoSuchKey", 404, "storage_not_found"],
    ["NoSuchBucket", 404, "storage_not_found"],
    ["NotFound", 404, "storage_not_found"],
    ["AccessDenied", 403, "storage_forbidden"],
    ["InvalidAccessKeyId", 403, "storage_unavailable"],
    ["SignatureDoesNotMatch", 403, "storage_unavailable"],
    ["InvalidToken", 400, "storage_unavailable"],
    ["ExpiredToken", 400, "storage_unavailable"],
    ["RequestTimeTooSkewed", 403, "storage_unavailable"],
    ["Forbidden", 403, "storage_forbidden"],
    ["XAdminUserNotFound", 404, "storage_unavailable"],
    ["PreconditionFailed", 412, "storage_precondition_failed"],
    ["SlowDown", 503, "storage_unavailable"],
    ["TooManyRequests", 429, "storage_unavailable"],
    ["RequestTimeout", 400, "storage_unavailable"],
    ["InternalError", 200, "storage_unavailable"],
    ["Whatever", 500, "storage_unavailable"],
    ["TimeoutError", undefined, "storage_unavailable"],
    ["NoSuchUpload", 404, "storage_unavailable"],
    ["PermanentRedirect", 301, "storage_refused"],
    ["AuthorizationHeaderMalformed", 400, "storage_refused"],
    ["NotImplemented", 501, "storage_refused"],
    ["InvalidBucketName", 400, "storage_invalid_location"],
    ["SyntaxError", undefined, "storage_invalid_response"],
    ["Error", 200, "storage_invalid_response"],
  ])("%s (%s) is %s", (name, status, code) => {
    const failure = storageFailure(sdkError(name, status), "GET s3://b/k");
    expect(failure.code).toBe(code);
    expect(isPassing(sdkError(name, status))).toBe(code === "storage_unavailable");
  });

  it.each(["ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "ETIMEDOUT", "EPIPE", "EAI_AGAIN", "HPE_INVALID_CONSTANT", "CERT_HAS_EXPIRED"])(
    "%s is storage_unavailable",
    (code) => {
      expect(storageFailure(Object.assign(new Error("x"), { code }), "GET s3://b/k").code).toBe("storage_unavailable");
    },
  );

  it("is aborted where its signal has fired, whatever was thrown", () => {
    const failure = storageFailure(sdkError("NoSuchKey", 404), "GET s3://b/k", AbortSignal.abort("cancelled"));
    expect(failure).toMatchObject({ code: "aborted", cause: "cancelled" });
  });

  it("stays itself where it is coded already", () => {
    const coded = new CodedError("storage_changed", "x");
    expect(storageFailure(coded, "GET s3://b/k")).toBe(coded);
  });

  it("says what was tried and why it failed, and keeps the cause", () => {
    const cause = sdkError("AccessDenied", 403);
    expect(storageFailure(cause, "GET s3://b/k")).toMatchObject({ message: "GET s3://b/k: AccessDenied (HTTP 403)", cause });
  });

  it("is storage_invalid_response where it is nothing that S3 or the network says", () => {
    for (const thrown of [null, "text", new TypeError("x"), { name: 1 }])
      expect(storageFailure(thrown, "GET s3://b/k").code).toBe("storage_invalid_response");
  });
});
