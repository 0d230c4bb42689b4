import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { S3Client } from "@aws-sdk/client-s3";
import { describe, expect, it } from "vitest";
import { nextPartBytes, partBytesFor, writeObjectStream } from "./write-object.ts";

describe("the size of a part", () => {
  it("is 8 MiB, and grows where 10,000 of those wouldn't do", () => {
    const mebibyte = 1024 * 1024;
    expect(partBytesFor(0)).toBe(8 * mebibyte);
    expect(partBytesFor(70 * 1024 * mebibyte)).toBe(8 * mebibyte);
    const largest = 5 * 1024 * 1024 * mebibyte; // the most that S3 holds in one object
    expect(partBytesFor(largest) * 10_000).toBeGreaterThanOrEqual(largest);
    expect(partBytesFor(largest)).toBeLessThan(5 * 1024 * mebibyte);
  });

  it("grows behind the first half, so that 10,000 parts hold whatever S3 holds", () => {
    const written = { parts: 0, sizeBytes: 0 };
    const sizes: number[] = [];
    while (written.parts < 10_000) {
      const bytes = nextPartBytes(partBytesFor(0), written);
      sizes.push(bytes);
      written.parts += 1;
      written.sizeBytes += bytes;
    }
    expect(new Set(sizes.slice(0, 5_000))).toEqual(new Set([8 * 1024 * 1024]));
    expect(written.sizeBytes).toBeGreaterThanOrEqual(5 * 1024 ** 4);
  });
});

describe("a stream that is written", () => {
  it("lets go of every piece once its part is sent", async () => {
    setFlagsFromString("--expose-gc");
    const collect: unknown = runInNewContext("gc");
    if (typeof collect !== "function") throw new Error("no collector to call");
    let held: WeakRef<Uint8Array>[] = [];
    const pieceBytes = 4 * 1024 * 1024;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- S3 as far as an upload in parts goes
    const client = { send: () => Promise.resolve({ UploadId: "upload", ETag: "etag" }) } as unknown as S3Client;
    await writeObjectStream(
      client,
      { bucket: "photos", key: "large" },
      (async function* () {
        for (let number = 0; number < 12; number++) {
          const piece = new Uint8Array(pieceBytes);
          held.push(new WeakRef(piece));
          yield piece;
        }
        // A few turns of the loop: what is sent is let go of asynchronously.
        for (let tries = 0; held.length > 6 && tries < 10; tries++) {
          await turn();
          collect();
          held = held.filter((piece) => piece.deref() !== undefined);
        }
      })(),
      { contentType: "text/plain", signal: new AbortController().signal },
    );
    expect(held.length).toBeLessThanOrEqual(6);
  });
});
