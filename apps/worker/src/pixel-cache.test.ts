import { CodedError } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { openPixelCache } from "./pixel-cache.ts";

const signal = new AbortController().signal;
const mebibyte = 2 ** 20;

/** Loads that are counted: each gives pixels of `bytes` bytes. */
function counted(bytes = 1_024) {
  const loads: string[] = [];
  const load = (name: string) => () => {
    loads.push(name);
    return Promise.resolve(new Float32Array(bytes / 4).fill(loads.length));
  };
  return { loads, load };
}

it("loads an image once, however many items show it at once or later", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  await Promise.all([cache.get("batch", "a", load("a"), signal), cache.get("batch", "a", load("a"), signal)]);
  await cache.get("batch", "a", load("a"), signal);
  expect(loads).toEqual(["a"]);
});

it("gives each caller pixels of its own", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { load } = counted();
  const first = await cache.get("batch", "a", load("a"), signal);
  structuredClone(first, { transfer: [first.buffer as ArrayBuffer] });
  expect((await cache.get("batch", "a", load("a"), signal)).length).toBe(256);
});

it("knows nothing of another batch's images", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  await cache.get("one", "a", load("one"), signal);
  await cache.get("two", "a", load("two"), signal);
  expect(loads).toEqual(["one", "two"]);
});

it("drops what was used longest ago when it holds too much", async () => {
  const cache = openPixelCache({ maxBytes: 3 * 100_000 });
  const { loads, load } = counted(100_000);
  for (const name of ["a", "b", "c", "a", "d"]) await cache.get("batch", name, load(name), signal);
  await cache.get("batch", "a", load("a again"), signal);
  await cache.get("batch", "b", load("b again"), signal);
  expect(loads).toEqual(["a", "b", "c", "d", "b again"]);
});

it("keeps an image's own fault, and forgets one that passes", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  const fail = (code: "image_not_found" | "storage_unavailable") => () => Promise.reject(new CodedError(code, code));
  await expect(cache.get("batch", "gone", fail("image_not_found"), signal)).rejects.toMatchObject({ code: "image_not_found" });
  await expect(cache.get("batch", "gone", load("gone"), signal)).rejects.toMatchObject({ code: "image_not_found" });
  await expect(cache.get("batch", "away", fail("storage_unavailable"), signal)).rejects.toMatchObject({ code: "storage_unavailable" });
  await cache.get("batch", "away", load("away"), signal);
  expect(loads).toEqual(["away"]);
});

it("loads again for an item whose neighbour gave up", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  const { promise, reject } = Promise.withResolvers<Float32Array>();
  const first = cache.get("batch", "a", () => promise, signal);
  const second = cache.get("batch", "a", load("a"), signal);
  reject(new CodedError("aborted", "the chunk was given up"));
  await expect(first).rejects.toMatchObject({ code: "aborted" });
  expect((await second).length).toBe(256);
  expect(loads).toEqual(["a"]);
});
