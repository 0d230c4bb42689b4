/**
 * Which objects there are, and taking them away.
 * Owns paging (S3 gives 1,000 at a time) and the batches that DeleteObjects takes. Refuses to hold a listing in memory.
 */
import {
  DeleteObjectsCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  type ObjectIdentifier,
  type S3Client,
} from "@aws-sdk/client-s3";
import { CodedError, isCoded } from "@flamboyance/contracts";
import { storageFailure } from "./failure.ts";
import { formatLocation, type Location } from "./location.ts";
import { request } from "./request.ts";

export interface ListedObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly lastModified: Date;
}

export interface ObjectDescription {
  readonly sizeBytes: number;
  readonly etag: string;
  readonly contentType: string | null;
  readonly lastModified: Date;
}

/** What the object is, or null where there is none (or no such bucket). */
export async function describeObject(
  client: S3Client,
  location: Location,
  { signal }: { readonly signal: AbortSignal },
): Promise<ObjectDescription | null> {
  const head = () => {
    const command = new HeadObjectCommand({ Bucket: location.bucket, Key: location.key, VersionId: location.versionId });
    return request(`HEAD ${formatLocation(location)}`, signal, (handling) => client.send(command, handling));
  };
  try {
    const answer = await head().catch((error: unknown) => {
      // A HEAD's refusal has no name: it may be our clock that was refused, which jumped. The SDK has S3's from this answer, and signs by it from now on.
      if (!isCoded(error, "storage_forbidden")) throw error;
      return head();
    });
    return {
      sizeBytes: answer.ContentLength ?? 0,
      etag: answer.ETag ?? "",
      contentType: answer.ContentType ?? null,
      lastModified: answer.LastModified ?? new Date(0),
    };
  } catch (error) {
    if (isCoded(error, "storage_not_found")) return null;
    throw error;
  }
}

/**
 * Every object whose key begins with `prefix.key`, in the keys' byte order, page by page. With a delimiter, only those without it behind the prefix.
 * `startAfter` leaves out the keys up to and including that one.
 */
export async function* listObjects(
  client: S3Client,
  prefix: Location,
  options: { readonly signal: AbortSignal; readonly delimiter?: string; readonly startAfter?: string },
): AsyncGenerator<ListedObject> {
  for await (const { page, read } of pages(client, prefix, options)) {
    for (const { Key, Size, ETag, LastModified } of page.Contents ?? []) {
      if (Key === undefined) throw new CodedError("storage_invalid_response", `LIST ${formatLocation(prefix)}: an object without a key`);
      yield { key: read(Key), sizeBytes: Size ?? 0, etag: ETag ?? "", lastModified: LastModified ?? new Date(0) };
    }
  }
}

/** The folders just below `prefix.key`, as prefixes that end in a slash, in byte order: however much lies in them. Behind the folder `startAfter`, where one is given. */
export async function* listFolders(
  client: S3Client,
  prefix: Location,
  { signal, startAfter }: { readonly signal: AbortSignal; readonly startAfter?: string },
): AsyncGenerator<string> {
  const options = { signal, delimiter: "/", ...(startAfter === undefined ? {} : { startAfter }) };
  for await (const { page, read } of pages(client, prefix, options)) {
    for (const { Prefix = "" } of page.CommonPrefixes ?? []) {
      const folder = read(Prefix);
      // Its objects stand behind its own name, so some servers give it again.
      if (startAfter === undefined || folder > startAfter) yield folder;
    }
  }
}

async function* pages(
  client: S3Client,
  prefix: Location,
  { signal, delimiter, startAfter }: { readonly signal: AbortSignal; readonly delimiter?: string; readonly startAfter?: string },
): AsyncGenerator<{ readonly page: ListObjectsV2CommandOutput; readonly read: (key: string) => string }> {
  const what = `LIST ${formatLocation(prefix)}`;
  let continuation: string | undefined;
  do {
    const command = new ListObjectsV2Command({
      Bucket: prefix.bucket,
      Prefix: prefix.key,
      Delimiter: delimiter,
      StartAfter: continuation === undefined ? startAfter : undefined,
      ContinuationToken: continuation,
      // XML can't hold every character that a key can.
      EncodingType: "url",
    });
    const page = await request(what, signal, (handling) => client.send(command, handling));
    yield { page, read: page.EncodingType === "url" ? decodeKey : (key: string) => key };
    if (page.IsTruncated === true && page.NextContinuationToken === undefined) {
      throw new CodedError("storage_invalid_response", `${what}: a cut listing without a way on`);
    }
    continuation = page.IsTruncated === true ? page.NextContinuationToken : undefined;
  } while (continuation !== undefined);
}

/** Takes objects away, 1,000 at a time; one that isn't there is taken for gone. Throws the first refusal, after its batch. */
export async function removeObjects(
  client: S3Client,
  locations: Iterable<Location>,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  for (const [bucket, all] of Map.groupBy(locations, (location) => location.bucket)) {
    for (let start = 0; start < all.length; start += 1000) {
      const keys: ObjectIdentifier[] = all.slice(start, start + 1000).map(({ key, versionId }) => ({ Key: key, VersionId: versionId }));
      const what = `DELETE ${keys.length} objects of s3://${bucket}`;
      const command = new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: keys, Quiet: true } });
      const { Errors = [] } = await request(what, signal, (handling) => client.send(command, handling));
      const refused = Errors.find(({ Code }) => Code !== "NoSuchKey");
      if (refused === undefined) continue;
      throw storageFailure(
        { name: refused.Code ?? "InternalError", $metadata: { httpStatusCode: statusOf(refused.Code) } },
        `${what}: ${refused.Key ?? ""}`,
      );
    }
  }
}

/** Per-key refusals come inside an answer of 200; these names aren't in the table by name because elsewhere their status tells. */
const statusOf = (code: string | undefined): number => (code === "AccessDenied" ? 403 : 500);

/** S3's "url" encoding writes a space as "+". */
const decodeKey = (key: string): string => decodeURIComponent(key.replaceAll("+", " "));
