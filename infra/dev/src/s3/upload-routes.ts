/** Uploads in parts: create, upload a part, complete, abort, list. A part is a file of its own, an upload a folder, so that both outlive the server. */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { answerXml, type Answer } from "./answer.ts";
import { checksumAlgorithmOf, checksumAlgorithms, startChecksum, type Checksum, type ChecksumAlgorithm } from "./checksum.ts";
import { checkWriteConditions } from "./conditions.ts";
import { compareKeys } from "./key-order.ts";
import { checksumHeaders, keptHeaders } from "./object-routes.ts";
import type { Bucket, ObjectFacts } from "./objects.ts";
import { receiveBody, receiveText } from "./receive.ts";
import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";
import type { SigningChain } from "./signature.ts";
import { childText, readXml, writeXml, type XmlElement } from "./xml.ts";

interface Upload extends Pick<ObjectFacts, "key" | "contentType" | "headers"> {
  readonly id: string;
  readonly startedAt: string;
  readonly algorithm: ChecksumAlgorithm | null;
  readonly checksumType: Checksum["type"];
}

interface Part {
  readonly number: number;
  readonly sizeBytes: number;
  readonly md5: string;
  readonly checksum: Checksum | null;
  readonly receivedAt: string;
}

const smallestPartBytes = 5 * 1024 * 1024;

export async function createUpload(request: S3Request, bucket: Bucket): Promise<Answer> {
  const algorithm = checksumAlgorithmOf(request.header("x-amz-checksum-algorithm") ?? "");
  const asked = request.header("x-amz-checksum-type");
  if (asked === "COMPOSITE" && algorithm === "crc64nvme") throw new S3Error("InvalidRequest", "CRC64NVME can't be COMPOSITE.");
  if (asked === "FULL_OBJECT" && (algorithm === "sha1" || algorithm === "sha256"))
    throw new S3Error("InvalidRequest", `${algorithm} can't be FULL_OBJECT.`);
  const checksumType = asked === "FULL_OBJECT" || algorithm === "crc64nvme" ? "FULL_OBJECT" : "COMPOSITE";
  const upload: Upload = {
    id: randomUUID(),
    key: request.key,
    startedAt: new Date().toISOString(),
    ...keptHeaders(request),
    algorithm,
    checksumType,
  };
  await mkdir(folderOf(bucket, upload.id), { recursive: true });
  await writeFile(join(folderOf(bucket, upload.id), "upload.json"), JSON.stringify(upload));
  const headers = algorithm === null ? {} : { "x-amz-checksum-algorithm": algorithm.toUpperCase(), "x-amz-checksum-type": checksumType };
  const answer = answerXml(writeXml("InitiateMultipartUploadResult", { Bucket: request.bucket, Key: request.key, UploadId: upload.id }));
  return { ...answer, headers: { ...answer.headers, ...headers } };
}

export async function uploadPart(request: S3Request, bucket: Bucket, chain: SigningChain): Promise<Answer> {
  const upload = await findUpload(request, bucket);
  const number = Number(request.query.get("partNumber"));
  if (!Number.isInteger(number) || number < 1 || number > 10_000) {
    throw new S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive");
  }
  const folder = folderOf(bucket, upload.id);
  const incoming = join(folder, randomUUID());
  const file = await open(incoming, "wx").catch(goneMeanwhile);
  try {
    const { sizeBytes, md5, checksum } = await receiveBody(request, chain, (piece) => file.appendFile(piece), upload.algorithm);
    if (checksum !== null && upload.algorithm !== null && checksum.algorithm !== upload.algorithm) {
      throw new S3Error(
        "InvalidRequest",
        `Checksum Type mismatch occurred, expected checksum Type: ${upload.algorithm}, actual checksum Type: ${checksum.algorithm}`,
      );
    }
    const part: Part = { number, sizeBytes, md5, checksum, receivedAt: new Date().toISOString() };
    await file.close();
    await writeFile(`${incoming}.json`, JSON.stringify(part));
    // The bytes first: a description without its bytes would be believed.
    await rename(incoming, join(folder, String(number)));
    await rename(`${incoming}.json`, join(folder, `${number}.json`));
    return {
      status: 200,
      headers: { etag: `"${md5}"`, ...(checksum === null ? {} : { [`x-amz-checksum-${checksum.algorithm}`]: checksum.value }) },
    };
  } catch (error) {
    await file.close();
    await rm(incoming, { force: true });
    return goneMeanwhile(error);
  }
}

export async function completeUpload(request: S3Request, bucket: Bucket, chain: SigningChain): Promise<Answer> {
  const allow = checkWriteConditions(request);
  const upload = await findUpload(request, bucket);
  const chosen = chooseParts(readXml(await receiveText(request, chain)), await readParts(bucket, upload.id), upload);
  const folder = folderOf(bucket, upload.id);
  const object = await bucket.create();
  try {
    const whole = upload.algorithm !== null && upload.checksumType === "FULL_OBJECT" ? startChecksum(upload.algorithm) : null;
    for (const part of chosen) {
      const pieces: AsyncIterable<Buffer> = createReadStream(join(folder, String(part.number)));
      for await (const piece of pieces) {
        whole?.update(piece);
        await object.write(piece);
      }
    }
    const value = whole?.digest().toString("base64");
    const promised = upload.algorithm === null ? undefined : request.header(`x-amz-checksum-${upload.algorithm}`);
    const checksum: Checksum | null =
      upload.algorithm !== null && value !== undefined
        ? { algorithm: upload.algorithm, value, type: "FULL_OBJECT" }
        : compositeChecksum(upload, chosen);
    if (promised !== undefined && promised !== checksum?.value)
      throw new S3Error("BadDigest", "The checksum of the whole object isn't the promised one.");
    const { key, contentType, headers } = upload;
    const facts: ObjectFacts = {
      key,
      contentType,
      headers,
      checksum,
      sizeBytes: chosen.reduce((sum, part) => sum + part.sizeBytes, 0),
      etag: `"${createHash("md5")
        .update(Buffer.from(chosen.map(({ md5 }) => md5).join(""), "hex"))
        .digest("hex")}-${chosen.length}"`,
      lastModified: new Date().toISOString(),
    };
    await object.commit(facts, allow);
    await rm(folder, { recursive: true, force: true });
    const result = { Location: request.rawPath, Bucket: request.bucket, Key: key, ETag: facts.etag };
    const fields =
      checksum === null ? {} : { [`Checksum${checksum.algorithm.toUpperCase()}`]: checksum.value, ChecksumType: checksum.type };
    const answer = answerXml(writeXml("CompleteMultipartUploadResult", { ...result, ...fields }));
    return { ...answer, headers: { ...answer.headers, ...checksumHeaders(facts) } };
  } catch (error) {
    await object.discard();
    // Another complete of it was quicker.
    return goneMeanwhile(error);
  }
}

export async function abortUpload(request: S3Request, bucket: Bucket): Promise<Answer> {
  const upload = await findUpload(request, bucket);
  // Again where a part in flight put a file in between.
  await rm(folderOf(bucket, upload.id), { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  return { status: 204 };
}

export async function listParts(request: S3Request, bucket: Bucket): Promise<Answer> {
  const upload = await findUpload(request, bucket);
  const after = Number(request.query.get("part-number-marker") ?? 0);
  const maxParts = Math.min(1000, Number(request.query.get("max-parts") ?? 1000));
  const rest = (await readParts(bucket, upload.id)).filter(({ number }) => number > after);
  const page = rest.slice(0, maxParts);
  return answerXml(
    writeXml("ListPartsResult", {
      Bucket: request.bucket,
      Key: upload.key,
      UploadId: upload.id,
      PartNumberMarker: after,
      NextPartNumberMarker: page.at(-1)?.number,
      MaxParts: maxParts,
      IsTruncated: rest.length > page.length,
      Part: page.map(({ number, sizeBytes, md5, checksum, receivedAt }) => ({
        PartNumber: number,
        LastModified: receivedAt,
        ETag: `"${md5}"`,
        Size: sizeBytes,
        ...(checksum === null ? {} : { [`Checksum${checksum.algorithm.toUpperCase()}`]: checksum.value }),
      })),
    }),
  );
}

export async function listUploads(request: S3Request, bucket: Bucket): Promise<string> {
  const prefix = request.query.get("prefix") ?? "";
  const uploads: Upload[] = [];
  for (const id of await readdir(bucket.uploadsFolder).catch(() => [])) {
    const upload = await readUpload(bucket, id);
    if (upload?.key.startsWith(prefix) === true) uploads.push(upload);
  }
  const inOrder = uploads.toSorted((a, b) => compareKeys(a.key, b.key) || a.startedAt.localeCompare(b.startedAt));
  const all = inOrder.map(({ key, id, startedAt }) => ({ Key: key, UploadId: id, Initiated: startedAt, StorageClass: "STANDARD" }));
  return writeXml("ListMultipartUploadsResult", {
    Bucket: request.bucket,
    Prefix: prefix,
    MaxUploads: 1000,
    IsTruncated: false,
    Upload: all,
  });
}

function chooseParts(root: XmlElement, uploaded: readonly Part[], upload: Upload): readonly Part[] {
  const named = root.children.filter(({ name }) => name === "Part");
  if (root.name !== "CompleteMultipartUpload" || named.length === 0) {
    throw new S3Error("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema");
  }
  const byNumber = new Map(uploaded.map((part) => [part.number, part]));
  let previous = 0;
  const chosen = named.map((element) => {
    const number = Number(childText(element, "PartNumber"));
    if (!(number > previous))
      throw new S3Error("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.");
    previous = number;
    const part = byNumber.get(number);
    const etag = childText(element, "ETag")?.replaceAll('"', "");
    const claimed = checksumAlgorithms.flatMap((algorithm) => {
      const value = childText(element, `Checksum${algorithm.toUpperCase()}`);
      return value === null ? [] : [{ algorithm, value }];
    });
    const wrong = claimed.some(({ algorithm, value }) => part?.checksum?.algorithm !== algorithm || part.checksum.value !== value);
    if (part === undefined || part.md5 !== etag || wrong) {
      throw new S3Error(
        "InvalidPart",
        "One or more of the specified parts could not be found. The part may not have been uploaded, or its tag or checksum may not match.",
      );
    }
    return part;
  });
  if (chosen.slice(0, -1).some(({ sizeBytes }) => sizeBytes < smallestPartBytes)) {
    throw new S3Error("EntityTooSmall", `Your proposed upload is smaller than the minimum allowed size (${upload.key})`);
  }
  return chosen;
}

/** The checksum of the parts' checksums, where every part has one. */
function compositeChecksum({ algorithm }: Upload, parts: readonly Part[]): Checksum | null {
  if (algorithm === null || parts.some((part) => part.checksum === null)) return null;
  const checksum = startChecksum(algorithm);
  for (const part of parts) checksum.update(Buffer.from(part.checksum?.value ?? "", "base64"));
  return { algorithm, value: `${checksum.digest().toString("base64")}-${parts.length}`, type: "COMPOSITE" };
}

const folderOf = (bucket: Bucket, id: string): string => join(bucket.uploadsFolder, id);

const noSuchUpload = (): S3Error =>
  new S3Error(
    "NoSuchUpload",
    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
  );

/** The upload's folder went away meanwhile: it was aborted or completed. */
function goneMeanwhile(error: unknown): never {
  throw error instanceof Error && "code" in error && error.code === "ENOENT" ? noSuchUpload() : error;
}

async function findUpload(request: S3Request, bucket: Bucket): Promise<Upload> {
  const id = request.query.get("uploadId") ?? "";
  const upload = /^[0-9a-f-]{36}$/.test(id) ? await readUpload(bucket, id) : null;
  if (upload === null || upload.key !== request.key) throw noSuchUpload();
  return upload;
}

async function readUpload(bucket: Bucket, id: string): Promise<Upload | null> {
  const text = await readFile(join(folderOf(bucket, id), "upload.json"), "utf8").catch(() => null);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by createUpload, in a folder of our own
  return text === null ? null : (JSON.parse(text) as Upload);
}

async function readParts(bucket: Bucket, id: string): Promise<Part[]> {
  const names = (await readdir(folderOf(bucket, id))).filter((name) => /^\d+\.json$/.test(name));
  const texts = await Promise.all(names.map((name) => readFile(join(folderOf(bucket, id), name), "utf8")));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by uploadPart, in a folder of our own
  return texts.map((text) => JSON.parse(text) as Part).toSorted((a, b) => a.number - b.number);
}
