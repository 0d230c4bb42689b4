import { expect, it } from "vitest";
import { callerErrors, CodedError, errorTable, isCoded, type ErrorCode } from "./error-code.ts";

const codes = Object.keys(errorTable) as ErrorCode[];

it("docs/errors.md tells every code (`npm run openapi` writes it)", async () => {
  const rows = codes.map((code) => {
    const { status, type, retryable, meaning } = errorTable[code];
    return `| \`${code}\` | ${status} | ${type} | ${retryable ? "yes" : "no"} | ${meaning} |\n`;
  });
  const head = `# Errors

Every failed answer is \`{"error": {"message", "type", "param", "code"}}\`, all four always; \`code\` is one of these. \`param\` names the field that is wrong, as \`examples[0].image\`.
The same codes stand in a batch's \`errors\`, in its error lines, and in what the client throws. The status is that of an answer, or of an error line's \`response\`.
"Again": the same input may succeed later. 503 carries \`retry-after\`; every answer carries \`x-request-id\`, which the service's log knows.

| code | status | type | again | meaning |
|---|---|---|---|---|
`;
  const callers = `
Two codes are of no answer: the client and the command line say them themselves.

| code | meaning |
|---|---|
${Object.entries(callerErrors)
  .map(([code, meaning]) => `| \`${code}\` | ${meaning} |\n`)
  .join("")}`;
  await expect(head + rows.join("") + callers).toMatchFileSnapshot("../../../docs/errors.md");
});

it("gives an error its row of the table", () => {
  const error = new CodedError("service_unavailable", "slow down", { param: "x", line: 3, cause: "why" });
  expect(error).toMatchObject({ status: 503, type: "server_error", retryable: true, param: "x", line: 3, cause: "why" });
  expect(isCoded(error)).toBe(true);
  expect(isCoded(error, "service_unavailable", "conflict")).toBe(true);
  expect(isCoded(error, "conflict")).toBe(false);
  expect(isCoded(new Error("service_unavailable"))).toBe(false);
});
