/**
 * Taking in a request's body: decoded, counted, hashed and held against everything that its sender promised.
 * Owns the promises (length, SHA-256, MD5, checksum in a header or trailer). The receiver's bytes count only when this has returned.
 */
import { createHash } from "node:crypto";
import { checksumAlgorithmOf, startChecksum, type Checksum, type ChecksumAlgorithm } from "./checksum.ts";
import { decodeChunks } from "./chunked.ts";
import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";
import type { SigningChain } from "./signature.ts";

export interface Received {
  readonly sizeBytes: number;
  readonly md5: string;
  /** The one that the sender gave, or asked for. */
  readonly checksum: Checksum | null;
}

/** Gives every piece to `onPiece` and resolves when the whole body has come and keeps its promises. */
export async function receiveBody(
  request: S3Request,
  chain: SigningChain,
  onPiece: (piece: Buffer) => Promise<void> | void,
  wanted: ChecksumAlgorithm | null = null,
): Promise<Received> {
  const form = request.header("x-amz-content-sha256") ?? "UNSIGNED-PAYLOAD";
  const chunked = form.startsWith("STREAMING-");
  const promisedBytes = request.header(chunked ? "x-amz-decoded-content-length" : "content-length");
  if (promisedBytes === undefined) throw new S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.");
  const body = chunked ? openChunks(request, form, chain) : { pieces: request.body(), trailers: new Map<string, string>() };

  const promised = promisedChecksum(request.headers);
  const trailing = checksumAlgorithmOf(request.header("x-amz-trailer") ?? "");
  const algorithm = promised?.algorithm ?? trailing ?? wanted;
  const checksum = algorithm === null ? null : startChecksum(algorithm);
  const md5 = createHash("md5");
  const sha256 = /^[0-9a-f]{64}$/.test(form) ? createHash("sha256") : null;
  let sizeBytes = 0;
  for await (const piece of body.pieces) {
    sizeBytes += piece.length;
    md5.update(piece);
    sha256?.update(piece);
    checksum?.update(piece);
    await onPiece(piece);
  }

  if (sizeBytes !== Number(promisedBytes))
    throw new S3Error("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.");
  if (sha256 !== null && sha256.digest("hex") !== form)
    throw new S3Error("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.");
  const digest = md5.digest();
  const promisedMd5 = request.header("content-md5");
  if (promisedMd5 !== undefined && promisedMd5 !== digest.toString("base64"))
    throw new S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.");
  const value = checksum?.digest().toString("base64");
  const expected = promised?.value ?? (trailing === null ? undefined : body.trailers.get(`x-amz-checksum-${trailing}`));
  if (trailing !== null && expected === undefined) throw new S3Error("InvalidRequest", "The trailer that was announced is missing.");
  if (expected !== undefined && expected !== value) {
    throw new S3Error("BadDigest", `The ${algorithm?.toUpperCase()} you specified did not match the calculated checksum.`);
  }
  return {
    sizeBytes,
    md5: digest.toString("hex"),
    checksum: algorithm === null || value === undefined ? null : { algorithm, value, type: "FULL_OBJECT" },
  };
}

/** A small body as text. */
export async function receiveText(request: S3Request, chain: SigningChain): Promise<string> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  await receiveBody(request, chain, (piece) => {
    sizeBytes += piece.length;
    if (sizeBytes > longestTextBytes) throw new S3Error("InvalidRequest", "The body is too large.");
    pieces.push(piece);
  });
  return Buffer.concat(pieces).toString("utf8");
}

const longestTextBytes = 4 * 1024 * 1024;

function openChunks(request: S3Request, form: string, chain: SigningChain): ReturnType<typeof decodeChunks> {
  switch (form) {
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
      return decodeChunks(request.body(), chain, false);
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
      return decodeChunks(request.body(), chain, true);
    case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
      return decodeChunks(request.body(), null, true);
    default:
      throw new S3Error("NotImplemented", `${form} isn't known.`);
  }
}

function promisedChecksum(headers: ReadonlyMap<string, string>): { algorithm: ChecksumAlgorithm; value: string } | null {
  for (const [name, value] of headers) {
    const algorithm = name.startsWith("x-amz-checksum-") ? checksumAlgorithmOf(name) : null;
    if (algorithm !== null) return { algorithm, value };
  }
  return null;
}
