/** What can be asked of the service and of a bucket as a whole. */
import { answerXml, type Answer } from "./answer.ts";
import { listObjects } from "./listing.ts";
import type { Buckets } from "./objects.ts";
import { receiveText } from "./receive.ts";
import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";
import type { SigningChain } from "./signature.ts";
import { listUploads } from "./upload-routes.ts";
import { childText, readXml, writeXml, type XmlContent } from "./xml.ts";

export interface BucketContext {
  readonly buckets: Buckets;
  readonly region: string;
  readonly isDenied: (bucket: string, key: string) => boolean;
}

export function answerService({ buckets }: BucketContext, request: S3Request): Answer {
  if (request.method !== "GET") throw new S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.");
  const owner = { ID: "flamboyance", DisplayName: "flamboyance" };
  const all = buckets.names.map((name) => ({ Name: name, CreationDate: buckets.get(name).createdAt.toISOString() }));
  return answerXml(writeXml("ListAllMyBucketsResult", { Owner: owner, Buckets: { Bucket: all } }));
}

export async function answerBucket(context: BucketContext, request: S3Request, chain: SigningChain): Promise<Answer> {
  const { buckets } = context;
  const { query, bucket: name } = request;
  switch (request.method) {
    case "PUT":
      refuseSubresources(request);
      await receiveText(request, chain).catch(ignoreMissingLength);
      buckets.create(name);
      return { status: 200, headers: { location: `/${name}` } };
    case "HEAD":
      buckets.get(name);
      return { status: 200, headers: { "x-amz-bucket-region": context.region } };
    case "DELETE":
      refuseSubresources(request);
      buckets.remove(name);
      return { status: 204 };
    case "GET":
      if (query.has("location")) {
        buckets.get(name);
        return answerXml(writeXml("LocationConstraint", context.region === "us-east-1" ? "" : context.region));
      }
      if (query.has("uploads")) return answerXml(await listUploads(request, buckets.get(name)));
      if (query.get("list-type") !== "2") throw new S3Error("NotImplemented", "Of the listings only ListObjectsV2 is there.");
      return answerXml(listObjects(request, buckets.get(name)));
    case "POST":
      if (!query.has("delete")) throw new S3Error("NotImplemented", "A form upload isn't taken.");
      return answerXml(await deleteObjects(context, request, chain));
    default:
      throw new S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.");
  }
}

async function deleteObjects({ buckets, isDenied }: BucketContext, request: S3Request, chain: SigningChain): Promise<string> {
  const bucket = buckets.get(request.bucket);
  const root = readXml(await receiveText(request, chain));
  const keys = root.children.filter(({ name }) => name === "Object").map((object) => childText(object, "Key"));
  if (root.name !== "Delete" || keys.length === 0 || keys.length > 1000 || keys.includes(null)) {
    throw new S3Error("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema");
  }
  const quiet = childText(root, "Quiet") === "true";
  const deleted: XmlContent[] = [];
  const errors: XmlContent[] = [];
  for (const key of keys) {
    if (key === null) continue;
    if (isDenied(request.bucket, key)) errors.push({ Key: key, Code: "AccessDenied", Message: "Access Denied" });
    else {
      bucket.remove(key);
      if (!quiet) deleted.push({ Key: key });
    }
  }
  return writeXml("DeleteResult", { Deleted: deleted, Error: errors });
}

/** Policies, versioning, tags and so on of a bucket: better refused than quietly taken for the bucket's own making or end. */
function refuseSubresources({ query }: S3Request): void {
  for (const name of query.keys()) {
    if (!name.startsWith("X-Amz-") && name !== "x-id") throw new S3Error("NotImplemented", `?${name} isn't there.`);
  }
}

/** CreateBucket has a body only where it names a region. */
function ignoreMissingLength(error: unknown): string {
  if (error instanceof S3Error && error.code === "MissingContentLength") return "";
  throw error;
}
