import { buffer } from "node:stream/consumers";
import type { Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { openLineFile } from "./line-file.ts";

const signal = new AbortController().signal;
const location = { bucket: "service", key: "lines.jsonl" };

/** S3 as far as a stream is written to it; `take` decides when and what of the pieces is read. */
function writing(take: (pieces: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<number>): Storage {
  const used: Pick<Storage, "writeStream"> = {
    writeStream: async (_location, pieces, options) => ({ sizeBytes: await take(pieces, options.signal), sha256: "hash" }),
  };
  return used as Storage;
}

it("writes records and whole lines in order, and counts them", async () => {
  let text = "";
  const storage = writing(async (pieces) => {
    text = (await buffer(pieces)).toString();
    return text.length;
  });
  const file = openLineFile(storage, location, { signal });
  await file.write({ a: 1 });
  await file.write('{"b":2}\n');
  expect(await file.finish()).toEqual({ sizeBytes: 16, sha256: "hash", lines: 2 });
  expect(text).toBe('{"a":1}\n{"b":2}\n');
});

it("waits while S3 is behind, and goes on when it isn't", async () => {
  const start = Promise.withResolvers<void>();
  const storage = writing(async (pieces) => {
    await start.promise;
    return (await buffer(pieces)).length;
  });
  const file = openLineFile(storage, location, { signal });
  const line = `${"x".repeat(100_000)}\n`;
  let written = 0;
  const all = (async () => {
    for (; written < 100; written++) await file.write(line);
  })();
  await new Promise((resolve) => setImmediate(resolve));
  const before = written;
  expect(before).toBeLessThan(40);
  start.resolve();
  await all;
  expect((await file.finish()).sizeBytes).toBe(100 * line.length);
});

it("tells the writer when the upload fails", async () => {
  const file = openLineFile(
    writing(() => Promise.reject(new Error("no such bucket"))),
    location,
    { signal },
  );
  await expect(
    (async () => {
      for (;;) await file.write("x".repeat(300_000));
    })(),
  ).rejects.toThrow("no such bucket");
  await expect(file.finish()).rejects.toThrow("no such bucket");
});

it("never completes an upload that is abandoned", async () => {
  let completed = false;
  const storage = writing(async (pieces) => {
    const { length } = await buffer(pieces);
    completed = true;
    return length;
  });
  const file = openLineFile(storage, location, { signal });
  await file.write({ a: 1 });
  await file.abandon();
  expect(completed).toBe(false);
});
