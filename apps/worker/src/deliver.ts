/**
 * The copy of an ended batch's files to its owner's `output`. Owns its bounded attempts and the answer that after.json keeps.
 * Refuses to hold up an end: whatever goes wrong is an answer, not a throw, but for a shutdown.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { bucketAllowed, CodedError, isCoded, type After, type BatchRequest, type End } from "@flamboyance/contracts";
import { parseLocation, type Storage } from "@flamboyance/storage";

const attempts = 5;
const longestPauseMs = 8_000;

/** Null where the batch has no `output`, or ended without files. */
export async function deliver(
  { storage, bucket }: { readonly storage: Storage; readonly bucket: string },
  request: BatchRequest,
  end: End,
  signal: AbortSignal,
): Promise<After["delivery"]> {
  if (request.output === null || end.files === null) return null;
  for (let attempt = 1; ; attempt++) {
    try {
      await copyFiles({ storage, bucket }, request.output, request, end.files, signal);
      return { status: "delivered", error: null };
    } catch (error) {
      if (signal.aborted) throw error;
      if (isCoded(error, "storage_not_found", "storage_forbidden", "storage_refused", "storage_invalid_location") || attempt === attempts) {
        return { status: "failed", error: isCoded(error) ? `${error.code}: ${error.message}` : "the copy failed" };
      }
      await sleep(Math.min(longestPauseMs, 500 * 2 ** (attempt - 1)), undefined, { signal });
    }
  }
}

async function copyFiles(
  { storage, bucket }: { readonly storage: Storage; readonly bucket: string },
  output: string,
  request: BatchRequest,
  files: NonNullable<End["files"]>,
  signal: AbortSignal,
): Promise<void> {
  const target = parseLocation(output);
  if (target.bucket === bucket || !bucketAllowed(request.buckets, target.bucket)) {
    throw new CodedError("storage_forbidden", `${output}: this bucket may not be used`);
  }
  const copies = [
    { key: files.output.key, name: "output.jsonl", contentType: "application/jsonl" },
    { key: files.errors.key, name: "errors.jsonl", contentType: "application/jsonl" },
    { key: files.summary.key, name: "summary.json", contentType: "application/json" },
  ];
  for (const { key, name, contentType } of copies) {
    await storage.writeStream({ bucket: target.bucket, key: target.key + name }, storage.stream({ bucket, key }, { signal }), {
      contentType,
      signal,
    });
  }
}
