/**
 * The copy of an ended batch's files to its owner's `output`. Owns how long it is tried and the answer that after.json keeps.
 * A refusal is an answer at once. What may pass is thrown, so that the job comes back after its capped wait and holds no slot meanwhile, for a day after the end.
 */
import { CodedError, isCoded, placeAllowed, type After, type BatchRequest, type End } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import { parseLocation, type Buckets, type Storage } from "@flamboyance/storage";
import { contentTypes } from "./tables/table-file.ts";

export interface DeliverDependencies {
  readonly storage: Storage;
  readonly buckets: Pick<Buckets, "of">;
  /** The service's own. */
  readonly bucket: string;
  readonly queue: Pick<Queue, "now">;
}

const triedForSeconds = 86_400;

/** Null where the batch has no `output`, or ended without files. Throws passing faults until a day after the end; then they are its answer. */
export async function deliver(
  { queue, ...places }: DeliverDependencies,
  request: BatchRequest,
  end: End,
  signal: AbortSignal,
): Promise<After["delivery"]> {
  if (request.output === null || end.files === null) return null;
  try {
    await copyFiles(places, request.output, request, end.files, signal);
    return { status: "delivered", error: null };
  } catch (error) {
    if (signal.aborted) throw error;
    const refused = isCoded(error, "storage_not_found", "storage_forbidden", "storage_refused", "storage_invalid_location");
    if (!refused && (await queue.now()) < end.ended_at + triedForSeconds) throw error;
    return { status: "failed", error: isCoded(error) ? `${error.code}: ${error.message}` : "the copy failed" };
  }
}

async function copyFiles(
  { storage, buckets, bucket }: Omit<DeliverDependencies, "queue">,
  output: string,
  request: BatchRequest,
  files: NonNullable<End["files"]>,
  signal: AbortSignal,
): Promise<void> {
  const target = parseLocation(output);
  if (target.bucket === bucket || !placeAllowed(request.access.write, target))
    throw new CodedError("storage_forbidden", `${output}: this place may not be used`);
  const theirs = buckets.of(request.access.credentials);
  const copies = [
    { key: files.output.key, name: "output.jsonl", contentType: "application/jsonl" },
    { key: files.errors.key, name: "errors.jsonl", contentType: "application/jsonl" },
    ...(files.csv === undefined ? [] : [{ key: files.csv.key, name: "results.csv", contentType: contentTypes.csv }]),
    ...(files.parquet === undefined ? [] : [{ key: files.parquet.key, name: "results.parquet", contentType: contentTypes.parquet }]),
    // Last: whoever finds it finds the others.
    { key: files.summary.key, name: "summary.json", contentType: "application/json" },
  ];
  for (const { key, name, contentType } of copies) {
    await theirs.writeStream({ bucket: target.bucket, key: target.key + name }, storage.stream({ bucket, key }, { signal }), {
      contentType,
      signal,
    });
  }
}
