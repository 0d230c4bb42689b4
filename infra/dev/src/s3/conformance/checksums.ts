/** Facts about checksums and streamed bodies: what arrives otherwise than it was sent is refused, and leaves nothing. */
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand, type ChecksumAlgorithm } from "@aws-sdk/client-s3";
import { Readable } from "node:stream";
import { expect } from "vitest";
import { startChecksum } from "../checksum.ts";
import { sendRaw, sha256, signedChunks, type RawRequest } from "./raw-request.ts";
import type { ServerUnderTest } from "./server-under-test.ts";

const signedForm = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const unsignedForm = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

function crc32(text: string): string {
  const checksum = startChecksum("crc32");
  checksum.update(Buffer.from(text));
  return checksum.digest().toString("base64");
}

export function checksumFacts(server: ServerUnderTest): void {
  const { bucket: Bucket, holds } = server;
  const isThere = (Key: string) =>
    server.client.send(new HeadObjectCommand({ Bucket, Key })).then(
      () => true,
      () => false,
    );
  const text = async (Key: string) => (await server.client.send(new GetObjectCommand({ Bucket, Key }))).Body?.transformToString();
  const putRaw = (key: string, raw: Omit<RawRequest, "method" | "path">) =>
    sendRaw(server.running, { method: "PUT", path: `/${Bucket}/${key}`, ...raw });

  const algorithms: readonly ChecksumAlgorithm[] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];
  for (const ChecksumAlgorithm of algorithms) {
    holds(`a ${ChecksumAlgorithm} is kept with its object and told on request`, async () => {
      const Key = `checksum-${ChecksumAlgorithm}`;
      const sent = await server.client.send(new PutObjectCommand({ Bucket, Key, Body: "checked bytes", ChecksumAlgorithm }));
      const got = await server.client.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
      expect(await got.Body?.transformToString()).toBe("checked bytes");
      expect(got[`Checksum${ChecksumAlgorithm}` as "ChecksumCRC32"]).toBe(sent[`Checksum${ChecksumAlgorithm}` as "ChecksumCRC32"]);
      expect(got[`Checksum${ChecksumAlgorithm}` as "ChecksumCRC32"]).toMatch(/^[A-Za-z0-9+/]+=*$/);
    });

    holds(`a stream is taken with its ${ChecksumAlgorithm} behind it`, async () => {
      const Key = `stream-${ChecksumAlgorithm}`;
      const pieces = Array.from({ length: 20 }, (_, index) => Buffer.alloc(30_000, index));
      await server.client.send(
        new PutObjectCommand({ Bucket, Key, Body: Readable.from(pieces), ContentLength: 600_000, ChecksumAlgorithm }),
      );
      const got = await server.client.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
      expect(Buffer.concat(pieces).equals((await got.Body?.transformToByteArray()) ?? Buffer.alloc(0))).toBe(true);
    });
  }

  holds("a wrong checksum is refused", async () => {
    const put = server.client.send(
      new PutObjectCommand({ Bucket, Key: "wrong-checksum", Body: "bytes", ChecksumCRC32: crc32("other bytes") }),
    );
    await expect(put).rejects.toMatchObject({ $metadata: { httpStatusCode: 400 } });
    expect(await isThere("wrong-checksum")).toBe(false);
  });

  holds("a wrong MD5 is refused", async () => {
    const answer = await putRaw("wrong-md5", { body: "bytes", headers: { "content-md5": "AAAAAAAAAAAAAAAAAAAAAA==" } });
    expect(answer).toMatchObject({ status: 400, code: "BadDigest" });
    expect(await isThere("wrong-md5")).toBe(false);
  });

  holds("a body other than the signed one is refused", async () => {
    const answer = await putRaw("other-body", { body: "the bytes that came", payloadHash: sha256("the bytes that were signed") });
    expect(answer).toMatchObject({ status: 400, code: "XAmzContentSHA256Mismatch" });
    expect(await isThere("other-body")).toBe(false);
  });

  holds("a body may be unsigned", async () => {
    expect(await putRaw("unsigned", { body: "unsigned bytes", payloadHash: "UNSIGNED-PAYLOAD" })).toMatchObject({ status: 200 });
    expect(await text("unsigned")).toBe("unsigned bytes");
  });

  const chunks = ["a".repeat(70_000), "b".repeat(65_536), "the last"];
  const length = String(chunks.join("").length);

  holds("signed chunks are taken", async () => {
    const headers = { "x-amz-decoded-content-length": length, "content-encoding": "aws-chunked" };
    const answer = await putRaw("signed-chunks", { payloadHash: signedForm, headers, body: (signing) => signedChunks(signing, chunks) });
    expect(answer).toMatchObject({ status: 200 });
    expect(await text("signed-chunks")).toBe(chunks.join(""));
  });

  holds("how a body was chunked on its way is no trait of its object", async () => {
    const headers = { "x-amz-decoded-content-length": length, "content-encoding": "aws-chunked" };
    await putRaw("chunked-away", { payloadHash: signedForm, headers, body: (signing) => signedChunks(signing, chunks) });
    const head = await server.client.send(new HeadObjectCommand({ Bucket, Key: "chunked-away" }));
    expect(head.ContentEncoding ?? "").toBe("");
  });

  holds("a signed chunk that was changed is refused", async () => {
    const headers = { "x-amz-decoded-content-length": length };
    const tamper = (framed: string, index: number) => (index === 1 ? framed.replace("\r\nbbb", "\r\nbBb") : framed);
    const answer = await putRaw("changed-chunk", {
      payloadHash: signedForm,
      headers,
      body: (signing) => signedChunks(signing, chunks, { tamper }),
    });
    expect(answer).toMatchObject({ status: 403, code: "SignatureDoesNotMatch" });
    expect(await isThere("changed-chunk")).toBe(false);
  });

  holds("signed chunks that were cut short are refused", async () => {
    const headers = { "x-amz-decoded-content-length": length };
    const tamper = (framed: string, index: number) => (index >= 2 ? "" : framed);
    const answer = await putRaw("cut-chunks", {
      payloadHash: signedForm,
      headers,
      body: (signing) => signedChunks(signing, chunks, { tamper }),
    });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(await isThere("cut-chunks")).toBe(false);
  });

  holds("signed chunks may carry a signed checksum behind them", async () => {
    const headers = { "x-amz-decoded-content-length": length, "x-amz-trailer": "x-amz-checksum-crc32" };
    const trailers = `x-amz-checksum-crc32:${crc32(chunks.join(""))}`;
    const put = (key: string, tamper?: (framed: string, index: number) => string) =>
      putRaw(key, {
        payloadHash: `${signedForm}-TRAILER`,
        headers,
        body: (signing) => signedChunks(signing, chunks, tamper === undefined ? { trailers } : { trailers, tamper }),
      });
    expect(await put("signed-trailer")).toMatchObject({ status: 200 });
    expect(await text("signed-trailer")).toBe(chunks.join(""));
  });

  holds("a signed checksum behind the chunks that is wrong is refused", async () => {
    const headers = { "x-amz-decoded-content-length": length, "x-amz-trailer": "x-amz-checksum-crc32" };
    const trailers = `x-amz-checksum-crc32:${crc32("something else")}`;
    const answer = await putRaw("wrong-signed-trailer", {
      payloadHash: `${signedForm}-TRAILER`,
      headers,
      body: (signing) => signedChunks(signing, chunks, { trailers }),
    });
    expect(answer.status).toBe(400);
    expect(await isThere("wrong-signed-trailer")).toBe(false);
  });

  holds("an unsigned checksum behind the chunks that is wrong is refused", async () => {
    const headers = { "x-amz-decoded-content-length": "5", "x-amz-trailer": "x-amz-checksum-crc32" };
    const body = (checksum: string) => `5\r\nbytes\r\n0\r\nx-amz-checksum-crc32:${checksum}\r\n\r\n`;
    expect(await putRaw("right-trailer", { payloadHash: unsignedForm, headers, body: body(crc32("bytes")) })).toMatchObject({
      status: 200,
    });
    const answer = await putRaw("wrong-trailer", { payloadHash: unsignedForm, headers, body: body(crc32("other")) });
    expect(answer.status).toBe(400);
    expect(await isThere("wrong-trailer")).toBe(false);
  });

  holds("chunks of another length than was promised are refused", async () => {
    const headers = { "x-amz-decoded-content-length": "6", "x-amz-trailer": "x-amz-checksum-crc32" };
    const body = `5\r\nbytes\r\n0\r\nx-amz-checksum-crc32:${crc32("bytes")}\r\n\r\n`;
    expect((await putRaw("other-length", { payloadHash: unsignedForm, headers, body })).status).toBe(400);
    expect(await isThere("other-length")).toBe(false);
  });
}
