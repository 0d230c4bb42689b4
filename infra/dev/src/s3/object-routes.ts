/** What can be asked of one object: get, head, put, copy, delete. */
import { answerXml, type Answer } from "./answer.ts";
import { readByteRange } from "./byte-range.ts";
import { checksumAlgorithmOf } from "./checksum.ts";
import { checkReadConditions, checkWriteConditions } from "./conditions.ts";
import type { Bucket, Buckets, NewObject, ObjectFacts } from "./objects.ts";
import { receiveBody } from "./receive.ts";
import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";
import type { SigningChain } from "./signature.ts";
import { writeXml } from "./xml.ts";

export async function readObject(request: S3Request, bucket: Bucket): Promise<Answer> {
  refuseVersions(request);
  const opened = await bucket.open(request.key);
  if (opened === null) throw new S3Error("NoSuchKey", "The specified key does not exist.");
  const { facts, file } = opened;
  try {
    checkReadConditions(request, facts);
    const range = readByteRange(request.header("range"), facts.sizeBytes);
    const { start, end } = range ?? { start: 0, end: facts.sizeBytes };
    const headers = {
      ...describe(request, facts, range === null),
      "content-length": String(end - start),
      ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${facts.sizeBytes}` }),
    };
    const status = range === null ? 200 : 206;
    if (request.method === "GET") return { status, headers, body: { file, start, end } };
    await file.close();
    return { status, headers };
  } catch (error) {
    await file.close();
    throw error;
  }
}

export async function putObject(request: S3Request, bucket: Bucket, chain: SigningChain): Promise<Answer> {
  const allow = checkWriteConditions(request);
  // Asked now to spare the upload, and again in the moment of the write.
  allow(bucket.get(request.key));
  const object = await bucket.create();
  try {
    const wanted = checksumAlgorithmOf(request.header("x-amz-sdk-checksum-algorithm") ?? "");
    const { sizeBytes, md5, checksum } = await receiveBody(request, chain, (piece) => object.write(piece), wanted);
    const facts: ObjectFacts = {
      key: request.key,
      sizeBytes,
      etag: `"${md5}"`,
      lastModified: new Date().toISOString(),
      ...keptHeaders(request),
      checksum,
    };
    await object.commit(facts, allow);
    return { status: 200, headers: { etag: facts.etag, ...checksumHeaders(facts) } };
  } catch (error) {
    await object.discard();
    throw error;
  }
}

export async function copyObject(request: S3Request, buckets: Buckets): Promise<Answer> {
  const source = decodeURIComponent(request.header("x-amz-copy-source") ?? "").replace(/^\//, "");
  const slash = source.indexOf("/");
  if (slash < 0) throw new S3Error("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
  const opened = await buckets.get(source.slice(0, slash)).open(source.slice(slash + 1));
  if (opened === null) throw new S3Error("NoSuchKey", "The specified key does not exist.");
  const replaced = request.header("x-amz-metadata-directive") === "REPLACE" ? keptHeaders(request) : {};
  let object: NewObject | null = null;
  try {
    object = await buckets.get(request.bucket).create();
    const { file, facts: of } = opened;
    if (of.sizeBytes > 0) {
      const pieces: AsyncIterable<Buffer> = file.createReadStream({ start: 0, end: of.sizeBytes - 1, autoClose: false });
      for await (const piece of pieces) await object.write(piece);
    }
    const facts = { ...of, ...replaced, key: request.key, lastModified: new Date().toISOString() };
    await object.commit(facts, checkWriteConditions(request));
    return answerXml(writeXml("CopyObjectResult", { ETag: facts.etag, LastModified: facts.lastModified }));
  } catch (error) {
    await object?.discard();
    throw error;
  } finally {
    await opened.file.close();
  }
}

export function deleteObject(request: S3Request, bucket: Bucket): Answer {
  refuseVersions(request);
  bucket.remove(request.key);
  return { status: 204 };
}

/** The request's headers that are kept with an object. */
export function keptHeaders(request: S3Request): Pick<ObjectFacts, "contentType" | "headers"> {
  const kept = [...request.headers].filter(([name]) => name.startsWith("x-amz-meta-") || keptNames.has(name));
  const metadataBytes = kept.reduce(
    (sum, [name, value]) => sum + (name.startsWith("x-amz-meta-") ? name.length - 11 + value.length : 0),
    0,
  );
  if (metadataBytes > 2048) throw new S3Error("InvalidRequest", "Your metadata headers exceed the maximum allowed metadata size");
  // "aws-chunked" tells of the request's own form, not of the object.
  const encoding = request.header("content-encoding")?.replace(/^aws-chunked,? */, "");
  return {
    contentType: request.header("content-type") ?? "binary/octet-stream",
    headers: { ...Object.fromEntries(kept), ...(encoding === undefined || encoding === "" ? {} : { "content-encoding": encoding }) },
  };
}

export function checksumHeaders({ checksum }: ObjectFacts): Record<string, string> {
  return checksum === null ? {} : { [`x-amz-checksum-${checksum.algorithm}`]: checksum.value, "x-amz-checksum-type": checksum.type };
}

const keptNames = new Set(["cache-control", "content-disposition", "content-language", "expires"]);
const overridable = ["content-type", "content-disposition", "content-encoding", "content-language", "cache-control", "expires"] as const;

function describe(request: S3Request, facts: ObjectFacts, whole: boolean): Record<string, string> {
  const overrides = overridable.flatMap((name) => {
    const value = request.query.get(`response-${name}`);
    return value === null ? [] : [[name, value] as const];
  });
  return {
    "accept-ranges": "bytes",
    "content-type": facts.contentType,
    etag: facts.etag,
    "last-modified": new Date(facts.lastModified).toUTCString(),
    ...facts.headers,
    // A part's checksum isn't the object's.
    ...(whole && request.header("x-amz-checksum-mode")?.toUpperCase() === "ENABLED" ? checksumHeaders(facts) : {}),
    ...Object.fromEntries(overrides),
  };
}

/** There are no versions here but the one that S3 calls "null". */
function refuseVersions({ query }: S3Request): void {
  const version = query.get("versionId");
  if (version !== null && version !== "null") throw new S3Error("InvalidArgument", "Invalid version id specified");
}
