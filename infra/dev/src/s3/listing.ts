/** ListObjectsV2: a page of a bucket's keys, with prefixes rolled up at a delimiter. Owns paging; a page begins behind a key, so it stays right while keys come and go. */
import { placeOf } from "./key-order.ts";
import type { Bucket } from "./objects.ts";
import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";
import { writeXml } from "./xml.ts";

const largestPage = 1000;

export function listObjects(request: S3Request, bucket: Bucket): string {
  const { query } = request;
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter") ?? "";
  const startAfter = query.get("start-after") ?? "";
  const token = query.get("continuation-token");
  const maxKeys = readMaxKeys(query.get("max-keys"));
  const encode = readEncoding(query.get("encoding-type"));

  const page = takePage(bucket.keys, { prefix, delimiter, after: token === null ? startAfter : readToken(token), maxKeys });
  return writeXml("ListBucketResult", {
    Name: request.bucket,
    Prefix: encode(prefix),
    Delimiter: delimiter === "" ? null : encode(delimiter),
    StartAfter: startAfter === "" ? null : encode(startAfter),
    ContinuationToken: token,
    NextContinuationToken: page.last === null ? null : Buffer.from(page.last).toString("base64url"),
    KeyCount: page.keys.length + page.prefixes.length,
    MaxKeys: maxKeys,
    EncodingType: query.get("encoding-type"),
    IsTruncated: page.last !== null,
    Contents: page.keys.flatMap((key) => {
      const object = bucket.get(key);
      if (object === undefined) return [];
      const checksum =
        object.checksum === null ? {} : { ChecksumAlgorithm: object.checksum.algorithm.toUpperCase(), ChecksumType: object.checksum.type };
      return [
        {
          Key: encode(key),
          LastModified: object.lastModified,
          ETag: object.etag,
          ...checksum,
          Size: object.sizeBytes,
          StorageClass: "STANDARD",
        },
      ];
    }),
    CommonPrefixes: page.prefixes.map((common) => ({ Prefix: encode(common) })),
  });
}

interface PageOptions {
  readonly prefix: string;
  readonly delimiter: string;
  readonly after: string;
  readonly maxKeys: number;
}

interface Page {
  readonly keys: readonly string[];
  readonly prefixes: readonly string[];
  /** The key or prefix behind which the next page begins; null where this is the last. */
  readonly last: string | null;
}

/** A page of sorted keys. A rolled-up prefix counts as one, and all keys below it are passed over. */
export function takePage(keys: readonly string[], { prefix, delimiter, after, maxKeys }: PageOptions): Page {
  const taken: string[] = [];
  const prefixes: string[] = [];
  let last: string | null = null;
  let at = placeOf(keys, prefix);
  if (after >= prefix) at = Math.max(at, placeOf(keys, after));
  for (; at < keys.length; at++) {
    const key = keys[at] ?? "";
    if (!key.startsWith(prefix)) break;
    if (key === after) continue;
    const cut = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
    const common = cut < 0 ? null : key.slice(0, cut + delimiter.length);
    // `after` is a prefix where the last page ended with one; then all below it has been told.
    if (common !== null && (common === prefixes.at(-1) || (delimiter !== "" && common === after))) continue;
    if (taken.length + prefixes.length === maxKeys) return { keys: taken, prefixes, last: maxKeys === 0 ? null : last };
    last = common ?? key;
    if (common === null) taken.push(key);
    else prefixes.push(common);
  }
  return { keys: taken, prefixes, last: null };
}

function readMaxKeys(text: string | null): number {
  if (text === null) return largestPage;
  if (!/^\d+$/.test(text)) throw new S3Error("InvalidArgument", "Provided max-keys not an integer or within integer range");
  return Math.min(Number(text), largestPage);
}

function readEncoding(text: string | null): (key: string) => string {
  if (text === null) return (key) => key;
  if (text !== "url") throw new S3Error("InvalidArgument", "Invalid Encoding Method specified in Request");
  return (key) => encodeURIComponent(key).replaceAll("%2F", "/").replaceAll("%20", "+");
}

function readToken(token: string): string {
  const after = Buffer.from(token, "base64url").toString("utf8");
  if (after === "") throw new S3Error("InvalidArgument", "The continuation token provided is incorrect");
  return after;
}
