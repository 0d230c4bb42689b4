import { expect, it } from "vitest";
import { openReadAhead } from "./read-ahead.ts";

const signal = new AbortController().signal;
const imageBytes = 8 * 1024 * 1024;
const image = new Uint8Array(imageBytes);

/** So many loads whose fetches are answered at once, and whose decodes wait for the test. */
function loads(count: number, options: { slots: number; maxBytes: number }) {
  const readAhead = openReadAhead(options);
  const decodes: (() => void)[] = [];
  const seen = { fetched: 0, waitingBytes: 0, mostBytes: 0 };
  const decode = async (bytes: Uint8Array) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    seen.waitingBytes += bytes.length;
    seen.mostBytes = Math.max(seen.mostBytes, seen.waitingBytes);
    decodes.push(resolve);
    await promise;
    seen.waitingBytes -= bytes.length;
  };
  const fetch = () => {
    seen.fetched += 1;
    return Promise.resolve(image);
  };
  const all = Array.from({ length: count }, () => readAhead.load({ fetch, decode }, signal));
  return { seen, decodes, all, readAhead };
}

/** Until everything that can happen has happened. */
const quiet = () => new Promise((resolve) => setImmediate(resolve));

it("holds back fetches while encoded images that wait for their decoding hold too much, by at most one image a slot", async () => {
  const [slots, maxBytes] = [3, 4 * imageBytes];
  const { seen, decodes, all } = loads(40, { slots, maxBytes });
  await quiet();
  // Nothing is decoded, so nothing more is fetched.
  const first = seen.fetched;
  expect(first).toBeGreaterThanOrEqual(4);
  expect(seen.mostBytes).toBeLessThanOrEqual(maxBytes + slots * imageBytes);
  await quiet();
  expect(seen.fetched).toBe(first);
  while (seen.fetched < 40 || decodes.length > 0) {
    for (const decoded of decodes.splice(0)) decoded();
    await quiet();
  }
  await Promise.all(all);
  expect(seen.mostBytes).toBeLessThanOrEqual(maxBytes + slots * imageBytes);
});

it("fetches one at a time where one image is more than may be held", async () => {
  const { seen, decodes, all } = loads(3, { slots: 3, maxBytes: 1 });
  for (let number = 1; number <= 3; number++) {
    await quiet();
    expect(seen.fetched).toBe(number);
    for (const decoded of decodes.splice(0)) decoded();
  }
  await Promise.all(all);
});

it("gives slot and bytes back after a fetch or a decode that failed, and after a wait that was given up", async () => {
  const readAhead = openReadAhead({ slots: 1, maxBytes: 1 });
  const fine = { fetch: () => Promise.resolve(image), decode: () => Promise.resolve("pixels") };
  const failing = () => Promise.reject(new Error("failed"));
  await expect(readAhead.load({ ...fine, fetch: failing }, signal)).rejects.toThrow("failed");
  await expect(readAhead.load({ ...fine, decode: failing }, signal)).rejects.toThrow("failed");
  const held = Promise.withResolvers<string>();
  const first = readAhead.load({ ...fine, decode: () => held.promise }, signal);
  const gaveUp = new AbortController();
  const waiting = readAhead.load(fine, gaveUp.signal);
  await quiet();
  gaveUp.abort(new Error("gave up"));
  await expect(waiting).rejects.toThrow("gave up");
  held.resolve("pixels");
  expect(await first).toBe("pixels");
  expect(await readAhead.load(fine, signal)).toBe("pixels");
});
