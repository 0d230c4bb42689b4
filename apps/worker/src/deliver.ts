/**
 * The copy of an ended batch's files to its owner's `output`. Owns how long it is tried and the answer that after.json keeps.
 * A refusal is an answer at once. What may pass is thrown, so that the job comes back after its capped wait and holds no slot meanwhile, for a day after the end.
 */
import { bucketAllowed, CodedError, isCoded, type After, type BatchRequest, type End } from "@flamboyance/contracts";
import { parseLocation, type Storage } from "@flamboyance/storage";
import { contentTypes } from "./tables/table-file.ts";

const triedForSeconds = 86_400;

/** Null where the batch has no `output`, or ended without files. Throws passing faults until a day after the end; then they are its answer. */
export async function deliver(
  { storage, bucket }: { readonly storage: Storage; readonly bucket: string },
  request: BatchRequest,
  end: End,
  signal: AbortSignal,
): Promise<After["delivery"]> {
  if (request.output === null || end.files === null) return null;
  try {
    await copyFiles({ storage, bucket }, request.output, request, end.files, signal);
    return { status: "delivered", error: null };
  } catch (error) {
    if (signal.aborted) throw error;
    const refused = isCoded(error, "storage_not_found", "storage_forbidden", "storage_refused", "storage_invalid_location");
    if (!refused && Date.now() / 1_000 < end.ended_at + triedForSeconds) throw error;
    return { status: "failed", error: isCoded(error) ? `${error.code}: ${error.message}` : "the copy failed" };
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
    ...(files.csv === undefined ? [] : [{ key: files.csv.key, name: "results.csv", contentType: contentTypes.csv }]),
    ...(files.parquet === undefined ? [] : [{ key: files.parquet.key, name: "results.parquet", contentType: contentTypes.parquet }]),
    // Last: whoever finds it finds the others.
    { key: files.summary.key, name: "summary.json", contentType: "application/json" },
  ];
  for (const { key, name, contentType } of copies) {
    await storage.writeStream({ bucket: target.bucket, key: target.key + name }, storage.stream({ bucket, key }, { signal }), {
      contentType,
      signal,
    });
  }
}
