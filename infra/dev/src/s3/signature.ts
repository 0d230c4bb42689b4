/**
 * Who asks: AWS Signature Version 4, in the Authorization header or in the query of a presigned URL.
 * Owns the verification, and the chain that signs the chunks of a streamed body. One pair of keys; what it may touch is the server's business.
 * Source: "Signature Calculations for the Authorization Header" and "Authenticating Requests: Using Query Parameters" of the S3 API reference.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
}

/** What the signatures of a streamed body's chunks go on from. */
export interface SigningChain {
  /** Checks a chunk's signature over its bytes' SHA-256. */
  verifyChunk(sha256: string, signature: string): void;
  /** Checks the trailers' signature. */
  verifyTrailers(sha256: string, signature: string): void;
}

const algorithm = "AWS4-HMAC-SHA256";
const allowedSkewMs = 15 * 60_000;
const longestExpirySeconds = 604_800;

/** Throws the error that S3 answers to a request with a missing, wrong or expired signature; else gives the chain for a streamed body. */
export function verifySignature(request: S3Request, credentials: Credentials, now: Date): SigningChain {
  const claim = request.query.has("X-Amz-Algorithm") ? readQuery(request, now) : readHeader(request, now);
  const [accessKeyId, day, region, service, terminator] = claim.credential.split("/");
  if (accessKeyId !== credentials.accessKeyId) {
    throw new S3Error("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.");
  }
  if (region !== credentials.region || service !== "s3" || terminator !== "aws4_request" || day !== claim.date.slice(0, 8)) {
    throw new S3Error(
      "AuthorizationHeaderMalformed",
      `The credential's scope is wrong; expecting ${claim.date.slice(0, 8)}/${credentials.region}/s3/aws4_request.`,
    );
  }
  const scope = [day, region, service, terminator].join("/");
  const key = [day, region, service, terminator].reduce<Buffer>(
    (from, part) => hmac(from, part ?? ""),
    Buffer.from(`AWS4${credentials.secretAccessKey}`),
  );
  const expected = hmac(key, [algorithm, claim.date, scope, sha256(canonicalRequest(request, claim))].join("\n")).toString("hex");
  requireEqual(expected, claim.signature);

  let previous = claim.signature;
  const verifyNext = (kind: string, hashes: readonly string[], signature: string): void => {
    requireEqual(hmac(key, [`${algorithm}-${kind}`, claim.date, scope, previous, ...hashes].join("\n")).toString("hex"), signature);
    previous = signature;
  };
  return {
    verifyChunk: (hash, signature) => verifyNext("PAYLOAD", [sha256(""), hash], signature),
    verifyTrailers: (hash, signature) => verifyNext("TRAILER", [hash], signature),
  };
}

interface Claim {
  readonly credential: string;
  /** As 20240517T120000Z. */
  readonly date: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  readonly payloadHash: string;
}

function readHeader(request: S3Request, now: Date): Claim {
  const authorization = request.header("authorization");
  if (authorization === undefined) throw new S3Error("AccessDenied", "Access Denied");
  const fields = new Map(
    authorization
      .slice(algorithm.length)
      .split(",")
      .map((field) => {
        const [name = "", ...value] = field.trim().split("=");
        return [name, value.join("=")] as const;
      }),
  );
  const credential = fields.get("Credential");
  const signedHeaders = fields.get("SignedHeaders")?.split(";");
  const signature = fields.get("Signature");
  const date = request.header("x-amz-date");
  const payloadHash = request.header("x-amz-content-sha256");
  if (
    !authorization.startsWith(`${algorithm} `) ||
    credential === undefined ||
    signedHeaders === undefined ||
    signature === undefined ||
    date === undefined
  ) {
    throw new S3Error("AuthorizationHeaderMalformed", "The authorization header is malformed.");
  }
  if (payloadHash === undefined) throw new S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256");
  for (const name of request.headers.keys()) {
    if ((name === "host" || name.startsWith("x-amz-")) && !signedHeaders.includes(name)) {
      throw new S3Error("AccessDenied", `There were headers present in the request which were not signed: ${name}`);
    }
  }
  if (Math.abs(readDate(date).getTime() - now.getTime()) > allowedSkewMs) {
    throw new S3Error("RequestTimeTooSkewed", "The difference between the request time and the server's time is too large.");
  }
  return { credential, date, signedHeaders, signature, payloadHash };
}

function readQuery(request: S3Request, now: Date): Claim {
  const field = (name: string): string => {
    const value = request.query.get(`X-Amz-${name}`);
    if (value === null) throw new S3Error("AuthorizationQueryParametersError", `X-Amz-${name} is missing.`);
    return value;
  };
  if (field("Algorithm") !== algorithm)
    throw new S3Error("AuthorizationQueryParametersError", `X-Amz-Algorithm only supports ${algorithm}.`);
  const date = field("Date");
  const expiresSeconds = Number(field("Expires"));
  if (!Number.isInteger(expiresSeconds) || expiresSeconds < 0 || expiresSeconds > longestExpirySeconds) {
    throw new S3Error("AuthorizationQueryParametersError", "X-Amz-Expires must be between 0 and a week in seconds.");
  }
  const ageMs = now.getTime() - readDate(date).getTime();
  if (ageMs > expiresSeconds * 1000) throw new S3Error("AccessDenied", "Request has expired");
  if (ageMs < -allowedSkewMs) throw new S3Error("AccessDenied", "Request is not valid yet");
  return {
    credential: field("Credential"),
    date,
    signedHeaders: field("SignedHeaders").split(";"),
    signature: field("Signature"),
    payloadHash: request.query.get("X-Amz-Content-Sha256") ?? request.header("x-amz-content-sha256") ?? "UNSIGNED-PAYLOAD",
  };
}

function canonicalRequest(request: S3Request, { signedHeaders, payloadHash }: Claim): string {
  const query = [...request.query]
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .toSorted()
    .join("&");
  const headers = signedHeaders.map((name) => `${name}:${(request.header(name) ?? "").trim().replaceAll(/ +/g, " ")}\n`).join("");
  const path = request.rawPath.split("/").map(decodeURIComponent).map(encode).join("/");
  return [request.method, path, query, headers, signedHeaders.join(";"), payloadHash].join("\n");
}

function readDate(date: string): Date {
  const found = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(date);
  if (found === null) throw new S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
  const [year = 0, month = 1, ...rest] = found.slice(1).map(Number);
  return new Date(Date.UTC(year, month - 1, ...rest));
}

function requireEqual(expected: string, signature: string): void {
  const [a, b] = [Buffer.from(expected), Buffer.from(signature)];
  if (a.length !== b.length || !timingSafeEqual(a, b)) {
    throw new S3Error(
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    );
  }
}

/** RFC 3986: also !'()* are encoded. */
const encode = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
