/** Facts about uploads in parts: nothing is there before the end, and then all of it. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  UploadPartCommand,
  type ChecksumAlgorithm,
  type CompletedPart,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { expect } from "vitest";
import type { ServerUnderTest } from "./server-under-test.ts";

const partBytes = 5 * 1024 * 1024;
const [first, second, last] = [Buffer.alloc(partBytes, 1), Buffer.alloc(partBytes, 2), Buffer.from("the last part")];

export function uploadFacts(server: ServerUnderTest): void {
  const { bucket: Bucket, holds } = server;
  const start = async (Key: string, algorithm?: ChecksumAlgorithm) => {
    const command = new CreateMultipartUploadCommand({
      Bucket,
      Key,
      ContentType: "application/x-parts",
      ...(algorithm && { ChecksumAlgorithm: algorithm }),
    });
    return (await server.client.send(command)).UploadId ?? "";
  };
  const part = async (Key: string, UploadId: string, PartNumber: number, Body: Buffer): Promise<CompletedPart> => {
    const { ETag } = await server.client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
    return { PartNumber, ETag };
  };
  const complete = (Key: string, UploadId: string, Parts: readonly CompletedPart[]) =>
    server.client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: [...Parts] } }));
  const bytes = async (Key: string) =>
    Buffer.from((await (await server.client.send(new GetObjectCommand({ Bucket, Key }))).Body?.transformToByteArray()) ?? []);
  const isThere = (Key: string) =>
    server.client.send(new HeadObjectCommand({ Bucket, Key })).then(
      () => true,
      () => false,
    );

  holds("lib-storage's Upload of a stream arrives whole", async () => {
    const pieces = Array.from({ length: 200 }, (_, index) => Buffer.alloc(64_000, index));
    const params = { Bucket, Key: "uploaded", Body: Readable.from(pieces), ContentType: "text/x", Metadata: { origin: "stream" } };
    await new Upload({ client: server.client, params, partSize: partBytes, queueSize: 3 }).done();
    expect((await bytes("uploaded")).equals(Buffer.concat(pieces))).toBe(true);
    const head = await server.client.send(new HeadObjectCommand({ Bucket, Key: "uploaded" }));
    expect(head).toMatchObject({
      ContentType: "text/x",
      Metadata: { origin: "stream" },
      ContentLength: 12_800_000,
      ETag: expect.stringMatching(/-3"$/) as string,
    });
  });

  holds("lib-storage's Upload may carry each checksum", async () => {
    for (const algorithm of ["CRC32C", "SHA256"] as const) {
      const params = { Bucket, Key: `uploaded-${algorithm}`, Body: Buffer.concat([first, last]), ChecksumAlgorithm: algorithm };
      await new Upload({ client: server.client, params, partSize: partBytes }).done();
      expect((await bytes(params.Key)).equals(params.Body)).toBe(true);
    }
  });

  holds("parts by hand become one object, with the ETag of their MD5s", async () => {
    const id = await start("by-hand");
    const parts = [await part("by-hand", id, 1, first), await part("by-hand", id, 2, second), await part("by-hand", id, 3, last)];
    expect(await isThere("by-hand")).toBe(false);
    const { ETag } = await complete("by-hand", id, parts);
    const md5s = [first, second, last].map((body) => createHash("md5").update(body).digest());
    expect(ETag).toBe(`"${createHash("md5").update(Buffer.concat(md5s)).digest("hex")}-3"`);
    expect((await bytes("by-hand")).equals(Buffer.concat([first, second, last]))).toBe(true);
    expect(await server.client.send(new HeadObjectCommand({ Bucket, Key: "by-hand" }))).toMatchObject({
      ETag,
      ContentType: "application/x-parts",
    });
  });

  holds("the numbers of parts may have gaps, a part may be sent again, and one may be left out", async () => {
    const id = await start("gaps");
    const third = await part("gaps", id, 30, last);
    await part("gaps", id, 2, first);
    await part("gaps", id, 5, last);
    const again = await part("gaps", id, 2, second);
    const listed = await server.client.send(new ListPartsCommand({ Bucket, Key: "gaps", UploadId: id }));
    expect(listed.Parts?.map(({ PartNumber, Size }) => [PartNumber, Size])).toEqual([
      [2, partBytes],
      [5, last.length],
      [30, last.length],
    ]);
    await complete("gaps", id, [again, third]);
    expect((await bytes("gaps")).equals(Buffer.concat([second, last]))).toBe(true);
  });

  holds("parts by hand may carry a SHA-256 each, and the object theirs", async () => {
    const [Key, ChecksumAlgorithm] = ["checked-parts", "SHA256"] as const;
    const UploadId = await start(Key, ChecksumAlgorithm);
    const Parts: CompletedPart[] = [];
    for (const [index, Body] of [first, last].entries()) {
      const ChecksumSHA256 = createHash("sha256").update(Body).digest("base64");
      const { ETag } = await server.client.send(
        new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: index + 1, Body, ChecksumSHA256 }),
      );
      Parts.push({ PartNumber: index + 1, ETag, ChecksumSHA256 });
    }
    const { ChecksumSHA256 } = await complete(Key, UploadId, Parts);
    const ofParts = [first, last].map((body) => createHash("sha256").update(body).digest());
    expect(ChecksumSHA256).toBe(`${createHash("sha256").update(Buffer.concat(ofParts)).digest("base64")}-2`);
    const wrong = await server.client.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
    expect(wrong.ChecksumSHA256).toBe(ChecksumSHA256);
  });

  holds("a part whose checksum is wrong is refused", async () => {
    const id = await start("wrong-part", "SHA256");
    const ChecksumSHA256 = createHash("sha256").update("something else").digest("base64");
    const sent = server.client.send(
      new UploadPartCommand({ Bucket, Key: "wrong-part", UploadId: id, PartNumber: 1, Body: last, ChecksumSHA256 }),
    );
    await expect(sent).rejects.toMatchObject({ $metadata: { httpStatusCode: 400 } });
  });

  holds("an upload that is given up is gone, and left no object", async () => {
    const id = await start("given-up");
    const sent = await part("given-up", id, 1, last);
    const uploads = async () => (await server.client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: "given-up" }))).Uploads ?? [];
    expect((await uploads()).map(({ Key, UploadId }) => [Key, UploadId])).toEqual([["given-up", id]]);
    await server.client.send(new AbortMultipartUploadCommand({ Bucket, Key: "given-up", UploadId: id }));
    expect(await uploads()).toEqual([]);
    await expect(complete("given-up", id, [sent])).rejects.toMatchObject({ name: "NoSuchUpload" });
    await expect(part("given-up", id, 2, last)).rejects.toMatchObject({ name: "NoSuchUpload" });
    expect(await isThere("given-up")).toBe(false);
  });

  holds("an upload isn't completed with a part that isn't its own", async () => {
    const id = await start("wrong-etag");
    const sent = await part("wrong-etag", id, 1, last);
    await expect(complete("wrong-etag", id, [{ ...sent, ETag: '"00000000000000000000000000000000"' }])).rejects.toMatchObject({
      name: "InvalidPart",
    });
    await expect(complete("wrong-etag", id, [{ ...sent, PartNumber: 2 }])).rejects.toMatchObject({ name: "InvalidPart" });
    expect(await isThere("wrong-etag")).toBe(false);
  });

  holds("an upload isn't completed with its parts out of order", async () => {
    const id = await start("disorder");
    const parts = [await part("disorder", id, 1, first), await part("disorder", id, 2, second)];
    await expect(complete("disorder", id, parts.toReversed())).rejects.toMatchObject({ name: "InvalidPartOrder" });
  });

  holds("only the last part may be small", async () => {
    const id = await start("small");
    const parts = [await part("small", id, 1, last), await part("small", id, 2, last)];
    await expect(complete("small", id, parts)).rejects.toMatchObject({ name: "EntityTooSmall" });
  });
}
