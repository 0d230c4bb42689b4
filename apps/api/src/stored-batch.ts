/**
 * What S3 knows of a batch: its frozen request, its end, what followed it. Read where Redis has no record any more.
 * Owns parsing; an object that doesn't fit its schema is our own fault and never a caller's.
 */
import { after, batchRequest, CodedError, end, isCoded, type After, type BatchRequest, type End } from "@flamboyance/contracts";
import { batchKeys, type Storage } from "@flamboyance/storage";
import type { z } from "zod";

export interface StoredBatch {
  readonly request: BatchRequest;
  /** Null while the batch hasn't ended. */
  readonly end: End | null;
  readonly after: After | null;
}

/** Null where S3 holds no such batch. */
export async function readStoredBatch(storage: Storage, bucket: string, id: string, signal: AbortSignal): Promise<StoredBatch | null> {
  const request = await readRequest(storage, bucket, id, signal);
  if (request === null) return null;
  const ended = await readEnd(storage, bucket, id, signal);
  return { request, end: ended, after: ended === null ? null : await readJson(storage, bucket, batchKeys(id).after, after, signal) };
}

export async function readRequest(storage: Storage, bucket: string, id: string, signal: AbortSignal): Promise<BatchRequest | null> {
  return readJson(storage, bucket, batchKeys(id).request, batchRequest, signal);
}

export async function readEnd(storage: Storage, bucket: string, id: string, signal: AbortSignal): Promise<End | null> {
  return readJson(storage, bucket, batchKeys(id).end, end, signal);
}

/** `batch_` and a lower-case ULID: only such ids become part of a key. */
export function isBatchId(text: string): boolean {
  return /^batch_[0-9a-hjkmnp-tv-z]{26}$/.test(text);
}

const objectBytes = 64 * 1024 * 1024;

async function readJson<Schema extends z.ZodType>(
  storage: Storage,
  bucket: string,
  key: string,
  schema: Schema,
  signal: AbortSignal,
): Promise<z.output<Schema> | null> {
  let bytes: Uint8Array;
  try {
    ({ bytes } = await storage.read({ bucket, key }, { signal, maxBytes: objectBytes }));
  } catch (error) {
    if (isCoded(error, "storage_not_found")) return null;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch (error) {
    throw new CodedError("internal_error", `s3://${bucket}/${key} isn't what was written there`, { cause: error });
  }
}
