/**
 * What S3 knows of a batch: its frozen request, its end, what followed it. Read where Redis has no record any more.
 * Owns which objects those are, and what may be an id: only such texts become part of a key.
 */
import { after, batchRequest, end, type After, type BatchRequest, type End } from "@flamboyance/contracts";
import { isUlid } from "@flamboyance/queue";
import { batchKeys, readJson, type Storage } from "@flamboyance/storage";

export interface StoredBatch {
  readonly request: BatchRequest;
  /** Null while the batch hasn't ended. */
  readonly end: End | null;
  readonly after: After | null;
}

/** Null where S3 holds no such batch, or it is being taken away. */
export async function readStoredBatch(storage: Storage, bucket: string, id: string, signal: AbortSignal): Promise<StoredBatch | null> {
  const request = await readRequest(storage, bucket, id, signal);
  if (request === null) return null;
  if ((await storage.describe({ bucket, key: batchKeys(id).deleted }, { signal })) !== null) return null;
  const ended = await readEnd(storage, bucket, id, signal);
  return {
    request,
    end: ended,
    after: ended === null ? null : await readJson(storage, { bucket, key: batchKeys(id).after }, after, signal),
  };
}

export async function readRequest(storage: Storage, bucket: string, id: string, signal: AbortSignal): Promise<BatchRequest | null> {
  return readJson(storage, { bucket, key: batchKeys(id).request }, batchRequest, signal);
}

export async function readEnd(storage: Storage, bucket: string, id: string, signal: AbortSignal): Promise<End | null> {
  return readJson(storage, { bucket, key: batchKeys(id).end }, end, signal);
}

/** `batch_` and a lower-case ULID. */
export function isBatchId(text: string): boolean {
  return text.startsWith("batch_") && isUlid(text.slice("batch_".length));
}
