import { CodedError, type End } from "@flamboyance/contracts";
import type { Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { deliver } from "./deliver.ts";
import { requestOf } from "./testing/request.ts";

const signal = new AbortController().signal;
const request = requestOf({ output: "s3://photos/out/" });
const usage = {
  input_tokens: 0,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 0,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 0,
};
/** Redis's clock, years from this process's. */
const now = 4_000_000_000;
const queue = { now: () => Promise.resolve(now) };
const endedAgo = (seconds: number): End => ({
  seal: "s",
  status: "completed",
  ended_at: now - seconds,
  in_progress_at: null,
  finalizing_at: 0,
  cancelling_at: null,
  counts: { total: 1, completed: 1, failed: 0 },
  usage,
  errors: [],
  files: {
    output: { key: "final/output.jsonl", sha256: "", lines: 1 },
    errors: { key: "final/errors.jsonl", sha256: "", lines: 0 },
    summary: { key: "final/summary.json", sha256: "" },
  },
});

/** The customer's bucket, which meets these faults first; what was written there is noted. */
function outbox(...faults: CodedError[]) {
  const written: string[] = [];
  const storage: Partial<Storage> = {
    async *stream() {},
    writeStream: ({ key }) => {
      const fault = faults.shift();
      if (fault !== undefined) return Promise.reject(fault);
      written.push(key);
      return Promise.resolve({ sizeBytes: 0, sha256: "" });
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a delivery uses
  const given = storage as Storage;
  return {
    written,
    try: (end: End, asked = request) =>
      deliver({ storage: given, buckets: { of: () => given }, bucket: "service", queue }, asked, end, signal),
  };
}
const away = () => new CodedError("storage_unavailable", "PUT s3://photos/out/output.jsonl: SlowDown (HTTP 503)");

it("that meets a passing fault is thrown, and whole at a later try", async () => {
  const box = outbox(away(), away());
  const end = endedAgo(3_600);
  for (let time = 0; time < 2; time++) await expect(box.try(end)).rejects.toMatchObject({ code: "storage_unavailable" });
  expect(await box.try(end)).toEqual({ status: "delivered", error: null });
  expect(box.written).toEqual(["out/output.jsonl", "out/errors.jsonl", "out/summary.json"]);
});

it("is given up a day after the end, with the fault as its reason", async () => {
  expect(await outbox(away()).try(endedAgo(86_401))).toMatchObject({
    status: "failed",
    error: expect.stringContaining("storage_unavailable"),
  });
  // The first try comes whenever it comes.
  expect(await outbox().try(endedAgo(86_401))).toMatchObject({ status: "delivered" });
});

it("that is refused fails at once", async () => {
  const refusal = new CodedError("storage_forbidden", "PUT s3://photos/out/output.jsonl: AccessDenied (HTTP 403)");
  expect(await outbox(refusal).try(endedAgo(0))).toEqual({ status: "failed", error: `storage_forbidden: ${refusal.message}` });
});

it("goes nowhere that its tenant may not write, whatever the request says", async () => {
  for (const output of ["s3://others/out/", "s3://photos/elsewhere/", "s3://service/batches/"]) {
    const box = outbox();
    const asked = requestOf({ output, access: { read: ["photos", "others"], write: ["photos/out/", "service"], credentials: [] } });
    expect(await box.try(endedAgo(0), asked)).toMatchObject({ status: "failed", error: expect.stringContaining("storage_forbidden") });
    expect(box.written).toEqual([]);
  }
});
