/**
 * An HTTP request as S3 reads it: whose bucket, which key, which query.
 * Owns path-style and virtual-host addressing and the decoding of keys. Refuses to look at who asks: signature.ts does.
 */
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { S3Error } from "./s3-error.ts";

export interface S3Request {
  readonly method: string;
  /** As it was sent, percent-encoded, without the query: what signatures are made over. */
  readonly rawPath: string;
  /** Empty for the service itself. */
  readonly bucket: string;
  /** Empty for the bucket itself. */
  readonly key: string;
  readonly query: URLSearchParams;
  /** A header's value; repeated ones are joined by commas. */
  header(name: string): string | undefined;
  /** All headers, by lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  /** The body's bytes as sent; asking for them lets a client that waits for "100 Continue" begin. */
  body(): AsyncIterable<Buffer>;
}

export function parseRequest(incoming: IncomingMessage, domain: string, sendContinue: () => void): S3Request {
  const headers = new Map(
    Object.entries(incoming.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(",") : (value ?? "")]),
  );
  const url = incoming.url ?? "/";
  const mark = url.indexOf("?");
  const rawPath = mark < 0 ? url : url.slice(0, mark);
  const hosted = bucketOfHost(headers.get("host") ?? "", domain);
  const segments = decodePath(rawPath.slice(1));
  const slash = segments.indexOf("/");
  const bucket = hosted ?? (slash < 0 ? segments : segments.slice(0, slash));
  const key = hosted === null ? (slash < 0 ? "" : segments.slice(slash + 1)) : segments;
  if (bucket !== "" && !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket))
    throw new S3Error("InvalidBucketName", "The specified bucket is not valid.");
  if (Buffer.byteLength(key) > 1024) throw new S3Error("KeyTooLongError", "Your key is too long.");
  return {
    method: incoming.method ?? "GET",
    rawPath,
    bucket,
    key,
    query: new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1)),
    header: (name) => headers.get(name),
    headers,
    body: () => {
      sendContinue();
      return incoming;
    },
  };
}

/** `photos.localhost:9000` with the domain `localhost` names a bucket; an address or the domain itself doesn't. */
function bucketOfHost(host: string, domain: string): string | null {
  const name = host.replace(/:\d+$/, "");
  return isIP(name) === 0 && name.endsWith(`.${domain}`) ? name.slice(0, -domain.length - 1) : null;
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new S3Error("InvalidURI", "Couldn't parse the specified URI.");
  }
}
