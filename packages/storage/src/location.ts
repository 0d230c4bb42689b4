/**
 * Where a thing lies in S3: `s3://bucket/key` as text and as parts.
 * Owns what a well-formed location is. Refuses everything else with `storage_invalid_location`; knows nothing of what lies there.
 */
import { CodedError } from "@flamboyance/contracts";

/** A bucket and a key in it, verbatim (nothing is percent-encoded). As a prefix the key may be empty or end in the middle of a name. */
export interface Location {
  readonly bucket: string;
  readonly key: string;
  /** Reads this version of a versioned object; the newest where it isn't given. */
  readonly versionId?: string;
}

/**
 * Reads `s3://bucket/key`, or `s3://bucket/key?versionId=…`. The key may be empty (`s3://bucket/`), as a prefix.
 * Bucket names follow S3's rules: they become host names, so nothing else may pass. Keys with a segment "." or ".." don't either: clients and proxies on the way
 * resolve them as paths, and then another key or another bucket is meant than the one that was looked at. Throws `storage_invalid_location`.
 *
 *     parseLocation("s3://photos/2024/cat.jpg") // → { bucket: "photos", key: "2024/cat.jpg" }
 */
export function parseLocation(text: string): Location {
  const found = /^s3:\/\/([^/]+)(?:\/(.*))?$/s.exec(text);
  const bucket = found?.[1] ?? "";
  if (!bucketName.test(bucket) || bucket.includes("..")) {
    throw new CodedError(
      "storage_invalid_location",
      `${quote(text)} isn't s3://bucket/key with a bucket name of 3 to 63 lower-case letters`,
    );
  }
  const rest = found?.[2] ?? "";
  const version = rest.includes("?versionId=") ? /^(.*)\?versionId=([^&?]+)$/s.exec(rest) : null;
  const key = version?.[1] ?? rest;
  if (Buffer.byteLength(key) > maxKeyBytes || key.includes("\0") || !key.isWellFormed()) {
    throw new CodedError("storage_invalid_location", `${quote(text)}: a key has at most ${maxKeyBytes} bytes of UTF-8, and no NUL`);
  }
  if (/(?:^|\/)\.\.?(?:\/|$)/.test(key)) {
    throw new CodedError("storage_invalid_location", `${quote(text)}: a key has no segment "." or ".."`);
  }
  return version?.[2] === undefined ? { bucket, key } : { bucket, key, versionId: version[2] };
}

/** The text that `parseLocation` reads back. */
export function formatLocation({ bucket, key, versionId }: Location): string {
  return `s3://${bucket}/${key}${versionId === undefined ? "" : `?versionId=${versionId}`}`;
}

const bucketName = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const maxKeyBytes = 1024;

const quote = (text: string): string => JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
