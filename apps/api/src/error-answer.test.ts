import { CodedError } from "@flamboyance/contracts";
import Fastify from "fastify";
import { expect, it } from "vitest";
import { answerErrors } from "./error-answer.ts";

/** What a route that throws this is answered with. */
async function answerTo(error: unknown) {
  const app = Fastify();
  answerErrors(app);
  app.get("/", () => Promise.reject(error));
  const { statusCode, headers, body } = await app.inject("/");
  return { status: statusCode, headers, error: JSON.parse(body).error };
}

it("a step that took too long is told as that, one whose caller went away isn't", async () => {
  const late = new CodedError("aborted", "PUT s3://service/x: given up", { cause: new DOMException("timeout", "TimeoutError") });
  expect(await answerTo(late)).toMatchObject({
    status: 503,
    headers: { "retry-after": "2" },
    error: { code: "service_unavailable", message: "The answer took too long; the request may be repeated." },
  });
  const left = new CodedError("aborted", "GET s3://service/x: given up", { cause: new DOMException("aborted", "AbortError") });
  expect(await answerTo(left)).toMatchObject({ status: 503, error: { message: "The request was given up." } });
});

it("a code about the service's own bucket is our fault, and tells nothing", async () => {
  const answer = await answerTo(new CodedError("storage_refused", "GET s3://service/secret: PermanentRedirect"));
  expect(answer).toMatchObject({ status: 500, error: { code: "internal_error" } });
  expect(answer.error.message).not.toContain("secret");
});
