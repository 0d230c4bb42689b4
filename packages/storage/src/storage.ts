/**
 * S3 as the service uses it. Owns the SDK's client, its sockets and its time limits.
 * Refuses nothing that S3 allows; what may be touched (whose bucket, which prefix) is decided by the callers.
 */
import { CreateBucketCommand, HeadBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { isCoded } from "@flamboyance/contracts";
import { describeObject, listFolders, listObjects, removeObjects, type ListedObject, type ObjectDescription } from "./list-objects.ts";
import type { Location } from "./location.ts";
import { readObject, readObjectRange, streamObject, type ObjectBytes, type ReadOptions } from "./read-object.ts";
import { request } from "./request.ts";
import { sdkRetryStrategy } from "./retry.ts";
import { writeObject, writeObjectStream, type WriteOptions } from "./write-object.ts";

export interface StorageOptions {
  /** Any S3-compatible server, as `http://127.0.0.1:9000`; AWS's own for the region where it isn't given. */
  readonly endpoint?: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** True: `endpoint/bucket/key`. False: `bucket.endpoint/key`. */
  readonly pathStyle: boolean;
  /** How many requests may run at once (64); set it to the caller's concurrency. */
  readonly maxSockets?: number;
  /** How long an answer, or the next byte of a body, may take: 30 s. */
  readonly requestTimeoutMs?: number;
  /** How often a request that met a passing fault is sent again, with capped backoff: 4. */
  readonly retries?: number;
}

/**
 * One set of credentials on one endpoint. Every method rejects with a CodedError: `storage_not_found`, `storage_forbidden`, `storage_precondition_failed`,
 * `storage_unavailable` (after the retries), `storage_refused`, `storage_invalid_response`, and `aborted` as soon as its signal fires.
 */
export interface Storage {
  /** The whole object in memory; over `maxBytes` it is refused with `storage_too_large` before it is buffered. */
  read(location: Location, options: ReadOptions & { readonly maxBytes?: number }): Promise<ObjectBytes>;
  /** Exactly these bytes; `storage_changed` where the object ends before them. */
  readRange(location: Location, options: ReadOptions & { readonly offsetBytes: number; readonly lengthBytes: number }): Promise<Uint8Array>;
  /** The bytes as they come. A broken body is taken up by range from the same object; one that can't be throws, and never ends as if whole. */
  stream(location: Location, options: ReadOptions & { readonly offsetBytes?: number }): AsyncIterable<Uint8Array>;
  /** What the object is, or null where there is none. */
  describe(location: Location, options: { readonly signal: AbortSignal }): Promise<ObjectDescription | null>;
  /** Puts these bytes as one object. `ifNoneMatch: "*"` doesn't replace one (not every server knows it: never build a decision on it). */
  write(location: Location, bytes: Uint8Array | string, options: WriteOptions & { readonly ifNoneMatch?: "*" }): Promise<{ etag: string }>;
  /** Puts a stream as one object, in parts where it is long; whole or not at all. `expectedBytes` keeps the parts of a very long one small. */
  writeStream(
    location: Location,
    pieces: AsyncIterable<Uint8Array>,
    options: WriteOptions & { readonly expectedBytes?: number },
  ): Promise<{ sizeBytes: number; sha256: string }>;
  /** The objects below a prefix, in key order, all pages. */
  list(
    prefix: Location,
    options: { readonly signal: AbortSignal; readonly delimiter?: string; readonly startAfter?: string },
  ): AsyncIterable<ListedObject>;
  /** The folders just below a prefix, as prefixes that end in a slash, in order; `startAfter` is one of them. */
  folders(prefix: Location, options: { readonly signal: AbortSignal; readonly startAfter?: string }): AsyncIterable<string>;
  /** Takes objects away, in batches of 1,000; those that aren't there are no error. */
  remove(locations: Iterable<Location>, options: { readonly signal: AbortSignal }): Promise<void>;
  /** Writes and removes an empty object below the prefix: throws what a write there would. Where it may not be removed it stays, one a prefix. */
  probeWrite(prefix: Location, options: { readonly signal: AbortSignal }): Promise<void>;
  /** Makes the bucket where there is none: for development and tests. */
  ensureBucket(bucket: string, options: { readonly signal: AbortSignal }): Promise<void>;
  /** Closes the sockets; requests in flight fail. */
  close(): void;
}

/**
 * Opens S3. Nothing is sent yet: a wrong endpoint or key shows at the first request.
 *
 *     const storage = openStorage({ endpoint, region: "us-east-1", accessKeyId, secretAccessKey, pathStyle: true, maxSockets: 32 });
 *     const { bytes } = await storage.read(parseLocation("s3://photos/cat.jpg"), { signal, maxBytes: 20_000_000 });
 */
export function openStorage(options: StorageOptions): Storage {
  const { maxSockets = 64, requestTimeoutMs = 30_000, retries = 4 } = options;
  const agent = { keepAlive: true, maxSockets };
  const client = new S3Client({
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    region: options.region,
    forcePathStyle: options.pathStyle,
    credentials: {
      accessKeyId: options.accessKeyId,
      secretAccessKey: options.secretAccessKey,
      ...(options.sessionToken === undefined ? {} : { sessionToken: options.sessionToken }),
    },
    retryStrategy: sdkRetryStrategy(retries),
    requestHandler: {
      httpAgent: agent,
      httpsAgent: agent,
      connectionTimeout: Math.min(requestTimeoutMs, 5_000),
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: requestTimeoutMs,
      // Waiting for a socket is how the caller's bound works, not worth a warning.
      socketAcquisitionWarningTimeout: 2 ** 31 - 1,
    },
  });
  const context = { client, retries };
  return {
    read: (location, readOptions) => readObject(context, location, readOptions),
    readRange: (location, rangeOptions) => readObjectRange(context, location, rangeOptions),
    stream: (location, streamOptions) => streamObject(context, location, streamOptions),
    describe: (location, describeOptions) => describeObject(client, location, describeOptions),
    write: (location, bytes, writeOptions) => writeObject(client, location, bytes, writeOptions),
    writeStream: (location, pieces, writeOptions) => writeObjectStream(client, location, pieces, writeOptions),
    list: (prefix, listOptions) => listObjects(client, prefix, listOptions),
    folders: (prefix, folderOptions) => listFolders(client, prefix, folderOptions),
    remove: (locations, removeOptions) => removeObjects(client, locations, removeOptions),
    probeWrite: async (prefix, { signal }) => {
      const probe = { bucket: prefix.bucket, key: `${prefix.key}.flamboyance-probe` };
      await writeObject(client, probe, "", { contentType: "text/plain", signal });
      // A bucket that takes objects and gives none away is a good place for results.
      await removeObjects(client, [probe], { signal }).catch((error: unknown) => {
        if (!isCoded(error, "storage_forbidden", "storage_refused")) throw error;
      });
    },
    ensureBucket: (bucket, { signal }) => ensureBucket(client, bucket, signal),
    close: () => client.destroy(),
  };
}

async function ensureBucket(client: S3Client, bucket: string, signal: AbortSignal): Promise<void> {
  const what = `bucket s3://${bucket}`;
  try {
    await request(what, signal, (handling) => client.send(new HeadBucketCommand({ Bucket: bucket }), handling));
  } catch (error) {
    if (!isCoded(error, "storage_not_found")) throw error;
    await request(what, signal, (handling) => client.send(new CreateBucketCommand({ Bucket: bucket }), handling)).catch(
      (failure: unknown) => {
        // Another process made it meanwhile.
        if (!isAlreadyThere(failure)) throw failure;
      },
    );
  }
}

function isAlreadyThere(failure: unknown): boolean {
  const cause = isCoded(failure) ? failure.cause : null;
  return cause instanceof Error && (cause.name === "BucketAlreadyOwnedByYou" || cause.name === "BucketAlreadyExists");
}
