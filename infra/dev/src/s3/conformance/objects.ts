/** Facts about single objects: what is put is what is got, in whole and in part, under any name and condition. */
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type GetObjectCommandInput,
} from "@aws-sdk/client-s3";
import { createHash } from "node:crypto";
import { expect } from "vitest";
import type { ServerUnderTest } from "./server-under-test.ts";

export function objectFacts(server: ServerUnderTest): void {
  const { bucket: Bucket, holds } = server;
  const put = (Key: string, bytes: string, more = {}) =>
    server.client.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.from(bytes), ...more }));
  const get = (Key: string, more: Partial<GetObjectCommandInput> = {}) =>
    server.client.send(new GetObjectCommand({ Bucket, Key, ...more }));
  const text = async (Key: string, more: Partial<GetObjectCommandInput> = {}) => (await get(Key, more)).Body?.transformToString();

  holds("an object comes back with its bytes, type, metadata and MD5", async () => {
    await put("whole.txt", "all of it", {
      ContentType: "text/plain; charset=utf-8",
      Metadata: { origin: "here" },
      CacheControl: "no-store",
    });
    const answer = await get("whole.txt");
    expect(await answer.Body?.transformToString()).toBe("all of it");
    expect(answer).toMatchObject({
      ContentLength: 9,
      ContentType: "text/plain; charset=utf-8",
      Metadata: { origin: "here" },
      CacheControl: "no-store",
    });
    expect(answer.ETag).toBe(`"${createHash("md5").update("all of it").digest("hex")}"`);
    const head = await server.client.send(new HeadObjectCommand({ Bucket, Key: "whole.txt" }));
    expect(head).toMatchObject({
      ContentLength: 9,
      ETag: answer.ETag,
      ContentType: "text/plain; charset=utf-8",
      LastModified: answer.LastModified,
    });
  });

  holds("a second put replaces the whole object", async () => {
    await put("replaced", "the first, longer text", { ContentType: "text/a" });
    await put("replaced", "second", { ContentType: "text/b" });
    const answer = await get("replaced");
    expect([await answer.Body?.transformToString(), answer.ContentType]).toEqual(["second", "text/b"]);
  });

  holds("an object may be empty", async () => {
    await put("empty", "");
    const answer = await get("empty");
    expect([await answer.Body?.transformToString(), answer.ContentLength]).toEqual(["", 0]);
  });

  holds("a key may hold any character", async () => {
    const keys = ["a b+c%20d", "é/日本/😀.jpg", "~!*'()&=;,@$:[]{}|^`\"<>\\", "?#query", "tab\tin it", "-", "..hidden"];
    for (const key of keys) await put(key, `bytes of ${key}`);
    for (const key of keys) expect(await text(key)).toBe(`bytes of ${key}`);
  });

  holds("`x` and `x/y` are two objects", async () => {
    await put("x", "file");
    await put("x/y", "below it");
    expect([await text("x"), await text("x/y")]).toEqual(["file", "below it"]);
  });

  holds("segments of a key may be empty or dots", async () => {
    const keys = ["odd//twice", "odd/twice", "odd/./dot", "odd/dot"];
    for (const key of keys) await put(key, `bytes of ${key}`);
    for (const key of keys) expect(await text(key)).toBe(`bytes of ${key}`);
  });

  holds("a range has three forms, and ends with the object", async () => {
    await put("digits", "0123456789");
    const range = async (Range: string) => {
      const answer = await get("digits", { Range });
      return [await answer.Body?.transformToString(), answer.ContentRange, answer.$metadata.httpStatusCode];
    };
    expect(await range("bytes=2-4")).toEqual(["234", "bytes 2-4/10", 206]);
    expect(await range("bytes=7-")).toEqual(["789", "bytes 7-9/10", 206]);
    expect(await range("bytes=-4")).toEqual(["6789", "bytes 6-9/10", 206]);
    expect(await range("bytes=8-100")).toEqual(["89", "bytes 8-9/10", 206]);
    expect(await range("bytes=-100")).toEqual(["0123456789", "bytes 0-9/10", 206]);
  });

  holds("a range past the end is 416", async () => {
    await put("short", "0123456789");
    await expect(get("short", { Range: "bytes=10-" })).rejects.toMatchObject({ name: "InvalidRange", $metadata: { httpStatusCode: 416 } });
    await expect(get("short", { Range: "bytes=10-12" })).rejects.toMatchObject({ name: "InvalidRange" });
  });

  holds("a read's conditions are looked at", async () => {
    const { ETag } = await put("conditional", "bytes");
    expect(await text("conditional", { IfMatch: ETag })).toBe("bytes");
    expect(await text("conditional", { IfNoneMatch: '"other"' })).toBe("bytes");
    await expect(get("conditional", { IfMatch: '"other"' })).rejects.toMatchObject({ $metadata: { httpStatusCode: 412 } });
    await expect(get("conditional", { IfNoneMatch: ETag })).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } });
    await expect(get("conditional", { IfModifiedSince: new Date(Date.now() - 86_400_000) })).resolves.toBeDefined();
    await expect(get("conditional", { IfUnmodifiedSince: new Date(Date.now() - 86_400_000) })).rejects.toMatchObject({
      $metadata: { httpStatusCode: 412 },
    });
  });

  holds("a put with If-None-Match: * never replaces", async () => {
    await put("once", "first", { IfNoneMatch: "*" });
    await expect(put("once", "second", { IfNoneMatch: "*" })).rejects.toMatchObject({
      name: "PreconditionFailed",
      $metadata: { httpStatusCode: 412 },
    });
    expect(await text("once")).toBe("first");
  });

  holds("of many conditional puts at once one wins", async () => {
    const puts = await Promise.allSettled(Array.from({ length: 8 }, (_, writer) => put("race", `writer ${writer}`, { IfNoneMatch: "*" })));
    const winners = puts.flatMap(({ status }, writer) => (status === "fulfilled" ? [writer] : []));
    expect(winners).toHaveLength(1);
    expect(await text("race")).toBe(`writer ${winners[0]}`);
  });

  holds("a put with If-Match replaces only that object", async () => {
    const { ETag } = await put("swapped", "first");
    await put("swapped", "second", { IfMatch: ETag });
    await expect(put("swapped", "third", { IfMatch: ETag })).rejects.toMatchObject({ $metadata: { httpStatusCode: 412 } });
    expect(await text("swapped")).toBe("second");
  });

  holds("what isn't there is told apart", async () => {
    await expect(get("no/such/key")).rejects.toMatchObject({ name: "NoSuchKey", $metadata: { httpStatusCode: 404 } });
    await expect(server.client.send(new HeadObjectCommand({ Bucket, Key: "no-such-key" }))).rejects.toMatchObject({ name: "NotFound" });
    await expect(get("key", { Bucket: "no-such-bucket" })).rejects.toMatchObject({
      name: "NoSuchBucket",
      $metadata: { httpStatusCode: 404 },
    });
  });

  holds("a delete may be repeated", async () => {
    await put("deleted", "bytes");
    await server.client.send(new DeleteObjectCommand({ Bucket, Key: "deleted" }));
    await server.client.send(new DeleteObjectCommand({ Bucket, Key: "deleted" }));
    await expect(get("deleted")).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  holds("many objects are deleted at once, whatever their names", async () => {
    const keys = ["many/a", "many/<&>\"'", "many/é"];
    for (const key of keys) await put(key, "bytes");
    const Objects = [...keys, "many/never-there"].map((Key) => ({ Key }));
    const answer = await server.client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
    expect(answer.Errors ?? []).toEqual([]);
    expect(answer.Deleted?.map(({ Key }) => Key).toSorted()).toEqual(Objects.map(({ Key }) => Key).toSorted());
    for (const key of keys) await expect(get(key)).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  holds("a quiet delete tells only what failed", async () => {
    await put("quiet", "bytes");
    const answer = await server.client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: "quiet" }], Quiet: true } }));
    expect([answer.Errors ?? [], answer.Deleted ?? []]).toEqual([[], []]);
    await expect(get("quiet")).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  holds("a copy is an object of its own", async () => {
    await put("source é.txt", "copied", { ContentType: "text/plain", Metadata: { kept: "yes" } });
    await server.client.send(
      new CopyObjectCommand({ Bucket, Key: "copy.txt", CopySource: `${Bucket}/${encodeURIComponent("source é.txt")}` }),
    );
    await server.client.send(new DeleteObjectCommand({ Bucket, Key: "source é.txt" }));
    const answer = await get("copy.txt");
    expect([await answer.Body?.transformToString(), answer.ContentType, answer.Metadata]).toEqual([
      "copied",
      "text/plain",
      { kept: "yes" },
    ]);
  });
}
