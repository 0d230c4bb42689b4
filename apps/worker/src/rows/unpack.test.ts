import { buffer } from "node:stream/consumers";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { CodedError, limits } from "@flamboyance/contracts";
import { describe, expect, it } from "vitest";
import { cut } from "../testing/pieces.ts";
import { unpack } from "./unpack.ts";

const text = Buffer.from(Array.from({ length: 20_000 }, (_, index) => `line ${index} ${(index * 7919) % 1009}\n`).join(""));
const packed = { gzip: gzipSync, zstd: zstdCompressSync };
const both = ["gzip", "zstd"] as const;

const skippable = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);

describe.each(both)("what %s packed", (compression) => {
  const pack = packed[compression];
  const whole = pack(text);
  const read = (bytes: Uint8Array, sizeBytes?: number) => buffer(unpack(cut(bytes, sizeBytes), compression));

  it("comes out as it was, however the bytes are cut", async () => {
    for (const sizeBytes of [1_000, 1_000_000]) expect((await read(whole, sizeBytes)).equals(text)).toBe(true);
    const short = text.subarray(0, 2_000);
    for (const sizeBytes of [1, 2, 3]) expect((await read(pack(short), sizeBytes)).equals(short)).toBe(true);
    expect((await read(pack(""))).length).toBe(0);
  });

  it("comes out whole where it was packed in several goes", async () => {
    const parts = [0, 1, 70_000, 70_001, text.length].map((from, at, all) => text.subarray(all[at - 1] ?? 0, from));
    const joined = Buffer.concat(parts.map((part) => pack(part)));
    for (const sizeBytes of [47, 1_000_000]) expect((await read(joined, sizeBytes)).equals(text)).toBe(true);
  });

  it("is refused wherever it is cut off", async () => {
    for (const length of [1, 3, 5, 10, 100, whole.length >> 1, whole.length - 5, whole.length - 1]) {
      await expect(read(whole.subarray(0, length)), `${length} bytes`).rejects.toMatchObject({ code: "manifest_unreadable" });
    }
  });

  it("is refused where it is damaged, or something else", async () => {
    for (const at of [0, 2, whole.length >> 1]) {
      const damaged = Buffer.from(whole);
      for (let byte = at; byte < at + 20; byte++) damaged[byte] = (damaged[byte] ?? 0) ^ 0x5a;
      await expect(read(damaged), `damaged at ${at}`).rejects.toMatchObject({ code: "manifest_unreadable" });
    }
    await expect(read(text)).rejects.toMatchObject({ code: "manifest_unreadable" });
    await expect(read(packed[compression === "gzip" ? "zstd" : "gzip"](text))).rejects.toMatchObject({ code: "manifest_unreadable" });
  });

  it("is refused as a bomb soon after its bound", async () => {
    const bomb = pack(Buffer.alloc(80_000_000));
    expect(bomb.length).toBeLessThan(400_000);
    let unpackedBytes = 0;
    const reading = (async () => {
      for await (const piece of unpack(cut(bomb), compression)) unpackedBytes += piece.length;
    })();
    await expect(reading).rejects.toMatchObject({ code: "manifest_too_large" });
    expect(unpackedBytes).toBeGreaterThanOrEqual(limits.manifestFreeBytes);
    expect(unpackedBytes).toBeLessThan(80_000_000);
  });

  it("passes on what its source throws", async () => {
    const failure = new CodedError("storage_unavailable", "away");
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield whole.subarray(0, 100);
      throw failure;
    }
    await expect(buffer(unpack(failing(), compression))).rejects.toBe(failure);
  });

  it("ends its source when its reader has enough", async () => {
    const ended = Promise.withResolvers<void>();
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield whole;
      } finally {
        ended.resolve();
      }
    }
    for await (const piece of unpack(source(), compression)) if (piece.length > 0) break;
    await ended.promise;
  });
});

it("leaves out what a zstd stream tells its readers to skip", async () => {
  const bytes = Buffer.concat([skippable, zstdCompressSync("one "), skippable, skippable, zstdCompressSync("two"), skippable]);
  for (const sizeBytes of [1, 4, 1_000]) expect((await buffer(unpack(cut(bytes, sizeBytes), "zstd"))).toString()).toBe("one two");
});
