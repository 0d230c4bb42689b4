/**
 * Reading an object: whole, a range, or as a stream.
 * Owns completeness: a body that breaks is taken up where it broke, from the same version of the object, and one that can't be is an error,
 * never a short read. Refuses to interpret bytes.
 */
import { GetObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { CodedError } from "@flamboyance/contracts";
import { Readable } from "node:stream";
import { abortFailure, isPastTheEnd, storageFailure } from "./failure.ts";
import { formatLocation, type Location } from "./location.ts";
import { request } from "./request.ts";
import { backoffMs, pause } from "./retry.ts";

export interface ReadContext {
  readonly client: S3Client;
  /** How often a broken body is taken up again without a single new byte. */
  readonly retries: number;
}

export interface ReadOptions {
  readonly signal: AbortSignal;
  /** The object must still have this ETag, else `storage_precondition_failed`. */
  readonly ifMatch?: string;
}

export interface ObjectBytes {
  readonly bytes: Uint8Array;
  readonly etag: string;
  readonly contentType: string | null;
}

/** The whole object in memory. With `maxBytes`, a larger one is refused with `storage_too_large` before its bytes are taken. */
export async function readObject(
  context: ReadContext,
  location: Location,
  options: ReadOptions & { readonly maxBytes?: number },
): Promise<ObjectBytes> {
  const { maxBytes = Number.MAX_SAFE_INTEGER, signal } = options;
  const refuse = (): CodedError => new CodedError("storage_too_large", `${formatLocation(location)} has more than ${maxBytes} bytes`);
  const opened = await openBody(context, location, { signal, ifMatch: options.ifMatch, startBytes: 0, endBytes: null });
  if (opened === null) return { bytes: new Uint8Array(0), etag: "", contentType: null };
  if (opened.endBytes !== null && opened.endBytes > maxBytes) {
    opened.body.destroy();
    throw refuse();
  }
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of wholeBody(context, location, opened, signal)) {
    sizeBytes += piece.length;
    if (sizeBytes > maxBytes) throw refuse();
    pieces.push(piece);
  }
  return { bytes: joined(pieces, sizeBytes), etag: opened.etag, contentType: opened.contentType };
}

/** Exactly these bytes. An object that ends before them isn't what its reader knows: `storage_changed`. */
export async function readObjectRange(
  context: ReadContext,
  location: Location,
  options: ReadOptions & { readonly offsetBytes: number; readonly lengthBytes: number },
): Promise<Uint8Array> {
  const { offsetBytes, lengthBytes, signal } = options;
  if (lengthBytes === 0) return new Uint8Array(0);
  const endBytes = offsetBytes + lengthBytes;
  const opened = await openBody(context, location, { signal, ifMatch: options.ifMatch, startBytes: offsetBytes, endBytes });
  if (opened === null || (opened.endBytes !== null && opened.endBytes !== endBytes)) {
    opened?.body.destroy();
    throw new CodedError("storage_changed", `${formatLocation(location)} ends before byte ${endBytes}`);
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of wholeBody(context, location, opened, signal)) pieces.push(piece);
  return joined(pieces, lengthBytes);
}

/** The bytes from `offsetBytes` on, as they come; nothing where the object ends at or before it. Leaving the loop early ends the request. */
export async function* streamObject(
  context: ReadContext,
  location: Location,
  options: ReadOptions & { readonly offsetBytes?: number },
): AsyncGenerator<Uint8Array> {
  const opened = await openBody(context, location, {
    signal: options.signal,
    ifMatch: options.ifMatch,
    startBytes: options.offsetBytes ?? 0,
    endBytes: null,
  });
  if (opened !== null) yield* wholeBody(context, location, opened, options.signal);
}

interface Opened {
  readonly body: Readable;
  readonly startBytes: number;
  /** Where the body ends in the object; null where the server doesn't say. */
  readonly endBytes: number | null;
  readonly etag: string;
  readonly contentType: string | null;
}

interface OpenOptions {
  readonly signal: AbortSignal;
  readonly ifMatch: string | undefined;
  readonly startBytes: number;
  readonly endBytes: number | null;
}

/** Sends the GET; null where the range lies past the object's end. */
async function openBody(
  { client }: ReadContext,
  location: Location,
  { signal, ifMatch, startBytes, endBytes }: OpenOptions,
): Promise<Opened | null> {
  const ranged = startBytes > 0 || endBytes !== null;
  const command = new GetObjectCommand({
    Bucket: location.bucket,
    Key: location.key,
    VersionId: location.versionId,
    IfMatch: ifMatch,
    Range: ranged ? `bytes=${startBytes}-${endBytes === null ? "" : endBytes - 1}` : undefined,
  });
  const what = `GET ${formatLocation(location)}`;
  const answer = await request(what, signal, (handling) => client.send(command, handling)).catch((error: unknown) => {
    if (ranged && error instanceof CodedError && isPastTheEnd(error.cause)) return null;
    throw error;
  });
  if (answer === null) return null;
  if (!(answer.Body instanceof Readable)) throw new CodedError("storage_invalid_response", `${what}: no body`);
  const range = /^bytes (\d+)-(\d+)\//.exec(answer.ContentRange ?? "");
  if (ranged && Number(range?.[1]) !== startBytes) {
    answer.Body.destroy();
    throw new CodedError("storage_invalid_response", `${what}: the server answered another range than was asked for`);
  }
  return {
    body: answer.Body,
    startBytes,
    endBytes: answer.ContentLength === undefined ? null : startBytes + answer.ContentLength,
    etag: answer.ETag ?? "",
    contentType: answer.ContentType ?? null,
  };
}

/** Gives the body's bytes up to its stated end, through as many requests as that takes. */
async function* wholeBody(context: ReadContext, location: Location, first: Opened, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const what = `GET ${formatLocation(location)}`;
  const { endBytes, etag } = first;
  let at = first.startBytes;
  let body = first.body;
  let retry = 0;
  for (;;) {
    const giveUp = (): void => void body.destroy(abortFailure(signal, what));
    signal.addEventListener("abort", giveUp, { once: true });
    let broken: unknown = null;
    try {
      if (signal.aborted) throw abortFailure(signal, what);
      for await (const piece of body as AsyncIterable<Uint8Array>) {
        at += piece.length;
        retry = 0;
        yield piece;
      }
    } catch (error) {
      broken = error;
    } finally {
      signal.removeEventListener("abort", giveUp);
      body.destroy();
    }
    if (signal.aborted) throw abortFailure(signal, what);
    if (broken === null && (endBytes === null || at === endBytes)) return;
    // All bytes came and yet the body broke: they don't have the checksum that the server stated.
    if (at === endBytes)
      throw new CodedError("storage_invalid_response", `${what}: the bytes aren't what the server promised`, { cause: broken });
    retry += 1;
    if (retry > context.retries || (endBytes !== null && at > endBytes)) {
      throw new CodedError("storage_unavailable", `${what}: the body broke at byte ${at} of ${endBytes ?? "unknown"}`, { cause: broken });
    }
    await pause(backoffMs(retry), signal);
    const again = await openBody(context, location, { signal, ifMatch: etag === "" ? undefined : etag, startBytes: at, endBytes }).catch(
      (error: unknown) => {
        const failure = storageFailure(error, what, signal);
        throw failure.code === "storage_precondition_failed"
          ? new CodedError("storage_changed", `${what}: the object changed while it was read`, { cause: failure })
          : failure;
      },
    );
    if (again === null || (endBytes !== null && again.endBytes !== endBytes)) {
      again?.body.destroy();
      throw new CodedError("storage_changed", `${what}: the object changed while it was read`);
    }
    body = again.body;
  }
}

function joined(pieces: readonly Uint8Array[], sizeBytes: number): Uint8Array {
  const only = pieces[0];
  return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces, sizeBytes);
}
