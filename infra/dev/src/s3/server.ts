/**
 * A small S3-compatible server for development and tests: one process, one folder, one pair of keys.
 * Owns the door (addressing, signatures, errors as XML, faults on demand) and who is sent where. Its promises are the conformance suite's.
 * Refuses production: nothing is synced to disk, and everything that the suite doesn't name answers NotImplemented.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { finished, pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer, FileSlice } from "./answer.ts";
import { answerBucket, answerService, type BucketContext } from "./bucket-routes.ts";
import { copyObject, deleteObject, putObject, readObject } from "./object-routes.ts";
import { openBuckets } from "./objects.ts";
import { parseRequest, type S3Request } from "./request.ts";
import { S3Error, type S3ErrorCode } from "./s3-error.ts";
import { verifySignature, type SigningChain } from "./signature.ts";
import { abortUpload, completeUpload, createUpload, listParts, uploadPart } from "./upload-routes.ts";
import { writeXml } from "./xml.ts";

export interface S3ServerOptions {
  /** Where buckets and objects lie; what an earlier server left there is served again. */
  readonly folder: string;
  /** 0, or none: a free port. */
  readonly port?: number;
  /** 127.0.0.1. */
  readonly host?: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** us-east-1. */
  readonly region?: string;
  /** `bucket.<domain>` names a bucket: localhost. */
  readonly domain?: string;
  /** For tests: what may not be touched answers AccessDenied. */
  readonly deny?: (bucket: string, key: string) => boolean;
  /** For tests: asked for every request that is well signed; a fault is done instead of the answer. */
  readonly faults?: (request: { readonly method: string; readonly bucket: string; readonly key: string }) => Fault | null;
}

export type Fault =
  | { readonly kind: "error"; readonly code: S3ErrorCode }
  /** The connection is cut before any answer: `reset` without a deed, `lostAnswer` when the deed is done. */
  | { readonly kind: "reset" | "lostAnswer" }
  /** The answer comes so much later. */
  | { readonly kind: "slow"; readonly byMs: number }
  /** The answer never comes. */
  | { readonly kind: "silence" }
  /** The body is cut, or falls silent, after so many bytes of it. */
  | { readonly kind: "cutBody" | "stallBody"; readonly afterBytes: number };

export interface S3Server {
  readonly endpoint: string;
  /** Cuts all connections. Safe to call twice. */
  close(): Promise<void>;
}

/** Starts serving. Rejects where the port is taken. */
export async function startS3Server(options: S3ServerOptions): Promise<S3Server> {
  const { region = "us-east-1", domain = "localhost", host = "127.0.0.1" } = options;
  const context: Context = {
    buckets: await openBuckets(options.folder),
    region,
    domain,
    isDenied: options.deny ?? (() => false),
    faultOf: options.faults ?? (() => null),
    credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey, region },
  };
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 });
  server.on("request", (incoming, outgoing) => void serve(context, incoming, outgoing, () => {}));
  // A client that asks first sends its body only when the request is known to be good.
  server.on("checkContinue", (incoming, outgoing) => void serve(context, incoming, outgoing, () => outgoing.writeContinue()));
  server.listen(options.port ?? 0, host);
  await once(server, "listening");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a listening TCP server has an AddressInfo
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    close: async () => {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Context extends BucketContext {
  readonly domain: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string; readonly region: string };
  readonly faultOf: NonNullable<S3ServerOptions["faults"]>;
}

async function serve(context: Context, incoming: IncomingMessage, outgoing: ServerResponse, sendContinue: () => void): Promise<void> {
  outgoing.setHeader("x-amz-request-id", randomUUID());
  outgoing.on("error", () => {}); // the client went away: nobody is left to tell
  try {
    const request = parseRequest(incoming, context.domain, sendContinue);
    const chain = verifySignature(request, context.credentials, new Date());
    const fault = context.faultOf(request);
    if (fault?.kind === "reset") return void incoming.socket.destroy();
    if (fault?.kind === "silence") return;
    if (fault?.kind === "error") throw new S3Error(fault.code, "Asked for by a test.");
    if (context.isDenied(request.bucket, request.key)) throw new S3Error("AccessDenied", "Access Denied");
    if (fault?.kind === "slow") await sleep(fault.byMs);
    const answer = await route(context, request, chain);
    if (fault?.kind === "lostAnswer") await lose(incoming, answer);
    else await send(outgoing, incoming.method === "HEAD", answer, fault);
  } catch (error) {
    if (incoming.destroyed && !incoming.complete) return;
    await sendError(incoming, outgoing, error);
  }
}

async function route(context: Context, request: S3Request, chain: SigningChain): Promise<Answer> {
  const { method, query } = request;
  if (request.bucket === "") return answerService(context, request);
  if (request.key === "") return answerBucket(context, request, chain);
  const bucket = context.buckets.get(request.bucket);
  for (const name of ["acl", "attributes", "tagging", "retention", "legal-hold", "torrent", "restore", "select", "partNumber"]) {
    if (query.has(name) && !(name === "partNumber" && method === "PUT")) throw new S3Error("NotImplemented", `?${name} isn't there.`);
  }
  const ofUpload = query.has("uploadId");
  if (method === "POST" && query.has("uploads")) return createUpload(request, bucket);
  if (method === "POST" && ofUpload) return completeUpload(request, bucket, chain);
  if (method === "PUT" && request.header("x-amz-copy-source") !== undefined) {
    if (ofUpload) throw new S3Error("NotImplemented", "A part can't be copied from an object.");
    return copyObject(request, context.buckets);
  }
  if (method === "PUT") return ofUpload ? uploadPart(request, bucket, chain) : putObject(request, bucket, chain);
  if (method === "DELETE") return ofUpload ? abortUpload(request, bucket) : deleteObject(request, bucket);
  if (method === "GET" && ofUpload) return listParts(request, bucket);
  if (method === "GET" || method === "HEAD") return readObject(request, bucket);
  throw new S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.");
}

async function lose(incoming: IncomingMessage, { body }: Answer): Promise<void> {
  if (typeof body === "object") await body.file.close();
  incoming.socket.destroy();
}

async function send(outgoing: ServerResponse, headOnly: boolean, answer: Answer, fault: Fault | null = null): Promise<void> {
  const { body } = answer;
  outgoing.writeHead(answer.status, {
    ...(typeof body === "string" ? { "content-length": String(Buffer.byteLength(body)) } : {}),
    ...answer.headers,
  });
  if (typeof body !== "object") {
    outgoing.end(headOnly ? undefined : body);
    return;
  }
  try {
    const afterBytes = fault?.kind === "cutBody" || fault?.kind === "stallBody" ? fault.afterBytes : Number.POSITIVE_INFINITY;
    if (body.end - body.start <= afterBytes) await sendFile(outgoing, body);
    else {
      outgoing.flushHeaders();
      for await (const piece of readSlice({ ...body, end: body.start + afterBytes })) outgoing.write(piece);
      if (fault?.kind === "stallBody") await finished(outgoing).catch(() => {});
      // Once the bytes have left: an end without the promised rest.
      else outgoing.write("", () => outgoing.socket?.end());
    }
  } finally {
    await body.file.close();
  }
}

/** Small objects in one piece, as most images are; others as a stream. */
async function sendFile(outgoing: ServerResponse, slice: FileSlice): Promise<void> {
  const sizeBytes = slice.end - slice.start;
  if (sizeBytes > 1_048_576) return pipeline(readSlice(slice), outgoing);
  const bytes = Buffer.allocUnsafe(sizeBytes);
  if (sizeBytes > 0) await slice.file.read(bytes, 0, sizeBytes, slice.start);
  outgoing.end(bytes);
}

const readSlice = ({ file, start, end }: FileSlice): AsyncIterable<Buffer> =>
  end > start ? file.createReadStream({ start, end: end - 1, autoClose: false }) : emptyBytes();

async function* emptyBytes(): AsyncGenerator<Buffer> {}

async function sendError(incoming: IncomingMessage, outgoing: ServerResponse, error: unknown): Promise<void> {
  if (outgoing.headersSent) return void outgoing.destroy();
  const known = error instanceof S3Error ? error : new S3Error("InternalError", "We encountered an internal error. Please try again.");
  if (known !== error) console.error("S3 development server:", error);
  const fields = {
    Code: known.code,
    Message: known.message,
    Resource: incoming.url?.split("?")[0],
    RequestId: String(outgoing.getHeader("x-amz-request-id")),
  };
  const hasBody = incoming.method !== "HEAD" && known.code !== "NotModified";
  const headers = { "content-type": "application/xml", ...known.headers };
  await send(
    outgoing,
    !hasBody,
    hasBody
      ? { status: known.status, headers, body: writeXml("Error", fields).replace(/ xmlns="[^"]*"/, "") }
      : { status: known.status, headers },
  );
}
