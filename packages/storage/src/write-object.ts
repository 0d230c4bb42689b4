/**
 * Writing an object whole: at once, or as a stream of unknown length in parts.
 * Owns "whole or not at all": a writer that fails or is given up leaves no object, and takes its unfinished upload away.
 * The parts are sent here and not by @aws-sdk/lib-storage, which can't give up a part in flight, reads the source to its end after a part has failed,
 * and returns from an abort before the upload is gone.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
  type CompletedPart,
  type S3Client,
} from "@aws-sdk/client-s3";
import { CodedError } from "@flamboyance/contracts";
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { abortFailure } from "./failure.ts";
import { formatLocation, type Location } from "./location.ts";
import { request } from "./request.ts";

export interface WriteOptions {
  readonly signal: AbortSignal;
  readonly contentType: string;
}

/** Puts the bytes as one object. `ifNoneMatch: "*"` refuses to replace one: `storage_precondition_failed`. */
export async function writeObject(
  client: S3Client,
  location: Location,
  bytes: Uint8Array | string,
  { contentType, signal, ifNoneMatch }: WriteOptions & { readonly ifNoneMatch?: "*" },
): Promise<{ etag: string }> {
  const command = new PutObjectCommand({
    Bucket: location.bucket,
    Key: location.key,
    Body: typeof bytes === "string" ? Buffer.from(bytes) : bytes,
    ContentType: contentType,
    IfNoneMatch: ifNoneMatch,
  });
  const answer = await request(`PUT ${formatLocation(location)}`, signal, (handling) => client.send(command, handling));
  return { etag: answer.ETag ?? "" };
}

/** S3 takes at most this many parts, of at least 5 MiB each but the last. */
const maxParts = 10_000;
const smallestPartBytes = 8 * 1024 * 1024;
const partsInFlight = 3;

/** The size of a stream's first parts: 8 MiB, more where the writer says that it expects more than 71 GiB. */
export function partBytesFor(expectedBytes: number): number {
  // A tenth more than expected still fits.
  return Math.max(smallestPartBytes, Math.ceil((expectedBytes * 1.1) / maxParts));
}

/**
 * The size of the next part: equal ones for the first half (39 GiB of 8 MiB), then a thousandth of what is written, so that a stream of which nobody knew
 * the length reaches S3's largest object before its last part. It follows from the stream alone: who writes the same bytes again sends the same parts.
 */
export function nextPartBytes(firstBytes: number, { parts, sizeBytes }: { readonly parts: number; readonly sizeBytes: number }): number {
  return parts < maxParts / 2 ? firstBytes : Math.max(firstBytes, Math.ceil(sizeBytes / 1_000));
}

/**
 * Puts a stream as one object, holding a few parts at most; a short one goes as one request. A source that throws, a part that fails or the signal ends it all.
 * Gives the SHA-256 of the bytes in hexadecimal.
 */
export async function writeObjectStream(
  client: S3Client,
  location: Location,
  pieces: AsyncIterable<Uint8Array>,
  options: WriteOptions & { readonly expectedBytes?: number },
): Promise<{ sizeBytes: number; sha256: string }> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  const count = (piece: Uint8Array): void => {
    hash.update(piece);
    sizeBytes += piece.length;
  };
  // The first failure of any part gives up the others.
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const inFlight = new Set<Promise<void>>();
  let upload: Upload | null = null;
  try {
    let number = 0;
    for await (const part of partsOf(untilAborted(pieces, signal), partBytesFor(options.expectedBytes ?? 0), count)) {
      number += 1;
      if (part.last && number === 1) {
        await writeObject(client, location, part.bytes, { contentType: options.contentType, signal });
        break;
      }
      if (number > maxParts) throw new CodedError("storage_too_large", `${formatLocation(location)} grew past ${maxParts} parts`);
      upload ??= await startUpload(client, location, options.contentType, signal);
      const sent: Promise<void> = upload
        .sendPart(number, part.bytes, signal)
        .catch((error: unknown) => failed.abort(error))
        .finally(() => inFlight.delete(sent));
      inFlight.add(sent);
      if (inFlight.size >= partsInFlight) await Promise.race(inFlight);
    }
    await Promise.all(inFlight);
    failed.signal.throwIfAborted();
    await upload?.complete(signal);
  } catch (error) {
    failed.abort(error);
    await Promise.all(inFlight);
    await upload?.abandon();
    // The first cause, not the "given up" that it led to elsewhere.
    throw failed.signal.reason;
  }
  return { sizeBytes, sha256: hash.digest("hex") };
}

interface Upload {
  sendPart(number: number, bytes: Uint8Array, signal: AbortSignal): Promise<void>;
  complete(signal: AbortSignal): Promise<void>;
  abandon(): Promise<void>;
}

async function startUpload(client: S3Client, location: Location, contentType: string, signal: AbortSignal): Promise<Upload> {
  const what = `PUT ${formatLocation(location)}`;
  const target = { Bucket: location.bucket, Key: location.key };
  const start = new CreateMultipartUploadCommand({ ...target, ContentType: contentType, ChecksumAlgorithm: "CRC32" });
  const { UploadId } = await request(what, signal, (handling) => client.send(start, handling));
  if (UploadId === undefined) throw new CodedError("storage_invalid_response", `${what}: an upload without an id`);
  const parts: CompletedPart[] = [];
  return {
    sendPart: async (number, bytes, partSignal) => {
      const command = new UploadPartCommand({ ...target, UploadId, PartNumber: number, Body: bytes, ChecksumAlgorithm: "CRC32" });
      const answer = await request(`${what} part ${number}`, partSignal, (handling) => client.send(command, handling));
      parts.push({ PartNumber: number, ETag: answer.ETag, ChecksumCRC32: answer.ChecksumCRC32 });
    },
    complete: async (completeSignal) => {
      const inOrder = parts.toSorted((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
      const command = new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts: inOrder } });
      const patient = { requestTimeout: completeTimeoutMs };
      await request(what, completeSignal, (handling) => client.send(command, { ...handling, ...patient })).catch(async (error: unknown) => {
        // Where the answer was lost the upload is gone, and another try says so: the object stands all the same.
        if (completeSignal.aborted || !(await stands(client, location, inOrder, completeSignal))) throw error;
      });
    },
    abandon: async () => {
      const command = new AbortMultipartUploadCommand({ ...target, UploadId });
      // Its writer's signal has fired already. What can't be taken away now, the sweep of unfinished uploads takes later.
      await client.send(command, { abortSignal: AbortSignal.timeout(abandonTimeoutMs) }).catch(() => {});
    },
  };
}

const abandonTimeoutMs = 5_000;
/** A store may lay the parts together before it answers. */
const completeTimeoutMs = 300_000;

/** Whether these very parts are the object: by the checksum of their checksums, or the hash of their hashes. */
async function stands(client: S3Client, location: Location, parts: readonly CompletedPart[], signal: AbortSignal): Promise<boolean> {
  const command = new HeadObjectCommand({ Bucket: location.bucket, Key: location.key, ChecksumMode: "ENABLED" });
  const found = await request(`HEAD ${formatLocation(location)}`, signal, (handling) => client.send(command, handling)).catch(() => null);
  if (found === null) return false;
  const checksums = Buffer.alloc(4);
  checksums.writeUInt32BE(crc32(Buffer.concat(parts.map(({ ChecksumCRC32 = "" }) => Buffer.from(ChecksumCRC32, "base64")))));
  const hashes = createHash("md5").update(Buffer.from(parts.map(({ ETag = "" }) => ETag.replaceAll('"', "")).join(""), "hex"));
  return (
    found.ChecksumCRC32 === `${checksums.toString("base64")}-${parts.length}` || found.ETag === `"${hashes.digest("hex")}-${parts.length}"`
  );
}

/** Cuts pieces into parts; the last may be shorter, and only it says so. */
async function* partsOf(
  pieces: AsyncIterable<Uint8Array>,
  firstBytes: number,
  onPiece: (piece: Uint8Array) => void,
): AsyncGenerator<{ bytes: Uint8Array; last: boolean }> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let cut = { parts: 0, sizeBytes: 0 };
  let partBytes = firstBytes;
  for await (const piece of pieces) {
    onPiece(piece);
    held.push(piece);
    heldBytes += piece.length;
    // More than a part, not as much: the last part must not be empty.
    while (heldBytes > partBytes) {
      const all = Buffer.concat(held, heldBytes);
      yield { bytes: all.subarray(0, partBytes), last: false };
      // A copy: the rest must not keep the sent part's memory.
      const rest = Buffer.from(all.subarray(partBytes));
      held = [rest];
      heldBytes = rest.length;
      cut = { parts: cut.parts + 1, sizeBytes: cut.sizeBytes + partBytes };
      partBytes = nextPartBytes(firstBytes, cut);
    }
  }
  yield { bytes: Buffer.concat(held, heldBytes), last: true };
}

/**
 * The same pieces; the signal ends the wait for the next one, whatever the source does. Not a race with one promise for the whole stream: such a promise
 * holds every piece that ever won against it, so a long stream would stay in memory.
 */
async function* untilAborted(pieces: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const source = pieces[Symbol.asyncIterator]();
  let giveUp = (): void => {};
  const onAbort = (): void => giveUp();
  signal.addEventListener("abort", onAbort, { once: true });
  const next = (): Promise<IteratorResult<Uint8Array>> =>
    new Promise((resolve, reject) => {
      giveUp = () => reject(signal.reason instanceof CodedError ? signal.reason : abortFailure(signal, "reading what is to be written"));
      if (signal.aborted) giveUp();
      else source.next().then(resolve, reject);
    });
  let finished = false;
  try {
    for (let piece = await next(); ; piece = await next()) {
      if (piece.done === true) {
        finished = true;
        return;
      }
      yield piece.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Not awaited: a source that hangs would hang here too.
    if (!finished) void source.return?.().catch(() => {});
  }
}
