/**
 * Requests that the SDK would never send: signed by hand, then spoilt on purpose.
 * Owns a signer of its own, apart from the server's verification; that both agree with versitygw is what the suite shows.
 */
import { createHash, createHmac } from "node:crypto";
import { request } from "node:http";
import type { RunningTestServer } from "../test-servers.ts";

export interface RawRequest {
  readonly method: string;
  /** Percent-encoded, with the bucket; no query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** x-amz-content-sha256: the body's own where it isn't given. */
  readonly payloadHash?: string;
  readonly body?: string | Buffer | ((signing: Signing) => Buffer);
  readonly date?: Date;
  readonly credentials?: { readonly accessKeyId?: string; readonly secretAccessKey?: string; readonly region?: string };
  /** The last look at the headers before they are sent, signature and all. */
  readonly spoil?: (headers: Record<string, string>) => void;
}

/** What the signatures of chunks go on from. */
export interface Signing {
  readonly seed: string;
  sign(kind: "PAYLOAD" | "TRAILER", previous: string, ...hashes: readonly string[]): string;
}

export interface RawAnswer {
  readonly status: number;
  /** S3's error code, or null. */
  readonly code: string | null;
  readonly text: string;
}

export async function sendRaw(server: RunningTestServer, raw: RawRequest): Promise<RawAnswer> {
  const { accessKeyId, secretAccessKey, region } = { ...server, ...raw.credentials };
  const date = (raw.date ?? new Date()).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const url = new URL(server.endpoint);
  const plain = typeof raw.body === "function" ? null : Buffer.from(raw.body ?? "");
  const payloadHash = raw.payloadHash ?? sha256(plain ?? "");
  const headers: Record<string, string> = { ...raw.headers, host: url.host, "x-amz-content-sha256": payloadHash, "x-amz-date": date };
  const names = Object.keys(headers).toSorted();
  const canonical = [
    raw.method,
    raw.path,
    "",
    ...names.map((name) => `${name}:${headers[name] ?? ""}`),
    "",
    names.join(";"),
    payloadHash,
  ].join("\n");
  const scope = `${date.slice(0, 8)}/${region}/s3/aws4_request`;
  const key = scope.split("/").reduce<Buffer>(hmac, Buffer.from(`AWS4${secretAccessKey}`));
  const seed = hmac(key, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256(canonical)}`).toString("hex");
  headers["authorization"] = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(";")}, Signature=${seed}`;
  const sign: Signing["sign"] = (kind, previous, ...hashes) =>
    hmac(key, [`AWS4-HMAC-SHA256-${kind}`, date, scope, previous, ...hashes].join("\n")).toString("hex");
  const body = typeof raw.body === "function" ? raw.body({ seed, sign }) : (plain ?? Buffer.alloc(0));
  raw.spoil?.(headers);
  return exchange(
    url,
    raw,
    { ...headers, ...(raw.headers?.["content-length"] === undefined ? { "content-length": String(body.length) } : {}) },
    body,
  );
}

/** A body as signed chunks. `tamper` may change the framed bytes of each chunk after it was signed. */
export function signedChunks(
  signing: Signing,
  chunks: readonly string[],
  options: { readonly trailers?: string; readonly tamper?: (framed: string, index: number) => string } = {},
): Buffer {
  let previous = signing.seed;
  const framed = [...chunks, ""].map((chunk, index) => {
    previous = signing.sign("PAYLOAD", previous, sha256(""), sha256(chunk));
    const head = `${Buffer.byteLength(chunk).toString(16)};chunk-signature=${previous}\r\n`;
    const text = chunk === "" ? head : `${head}${chunk}\r\n`;
    return options.tamper?.(text, index) ?? text;
  });
  const { trailers } = options;
  const signed =
    trailers === undefined
      ? ""
      : `${trailers}\r\nx-amz-trailer-signature:${signing.sign("TRAILER", previous, sha256(`${trailers}\n`))}\r\n`;
  return Buffer.from(`${framed.join("")}${signed}\r\n`);
}

export const sha256 = (text: string | Buffer): string => createHash("sha256").update(text).digest("hex");
const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

/** A socket of its own: a spoilt body must not spoil the next request. */
function exchange(url: URL, { method, path }: RawRequest, headers: Record<string, string>, body: Buffer): Promise<RawAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  const outgoing = request({ host: url.hostname, port: url.port, method, path, headers, agent: false }, (incoming) => {
    let text = "";
    incoming.setEncoding("utf8").on("data", (piece: string) => (text += piece));
    incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, code: /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? null, text }));
    incoming.on("error", reject);
  });
  outgoing.on("error", reject);
  outgoing.end(body);
  return promise;
}
