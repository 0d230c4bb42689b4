import { CodedError } from "@flamboyance/contracts";
import type { Media } from "@flamboyance/model";
import { expect, it } from "vitest";
import type { LoadedImage } from "./media.ts";
import { openPixelCache } from "./pixel-cache.ts";

const signal = new AbortController().signal;
const mebibyte = 2 ** 20;
const still = (image: string) => ({ image, etag: null, frames: null });

const loaded = (frames: Media) => ({ frames, etag: "1", sha256: "2" });

/** Loads that are counted: each gives pixels of `bytes` bytes. */
function counted(bytes = 1_024) {
  const loads: string[] = [];
  const load = (name: string) => () => {
    loads.push(name);
    return Promise.resolve(loaded([new Float32Array(bytes / 4).fill(loads.length)]));
  };
  return { loads, load };
}

it("loads an image once, however many items show it at once or later", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  await Promise.all([cache.get("batch", still("a"), load("a"), signal), cache.get("batch", still("a"), load("a"), signal)]);
  await cache.get("batch", still("a"), load("a"), signal);
  expect(loads).toEqual(["a"]);
});

it("gives each caller pixels of its own", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { load } = counted();
  const first = await cache.get("batch", still("a"), load("a"), signal);
  structuredClone(first, { transfer: first.frames.map(({ buffer }) => buffer as ArrayBuffer) });
  expect((await cache.get("batch", still("a"), load("a"), signal)).frames[0]?.length).toBe(256);
});

it("knows nothing of another batch's images", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  await cache.get("one", still("a"), load("one"), signal);
  await cache.get("two", still("a"), load("two"), signal);
  expect(loads).toEqual(["one", "two"]);
});

it("drops what was used longest ago when it holds too much", async () => {
  const cache = openPixelCache({ maxBytes: 3 * 100_000 });
  const { loads, load } = counted(100_000);
  for (const name of ["a", "b", "c", "a", "d"]) await cache.get("batch", still(name), load(name), signal);
  await cache.get("batch", still("a"), load("a again"), signal);
  await cache.get("batch", still("b"), load("b again"), signal);
  expect(loads).toEqual(["a", "b", "c", "d", "b again"]);
});

it("keeps an image's own fault, and forgets one that passes", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  const fail = (code: "image_not_found" | "storage_unavailable") => () => Promise.reject(new CodedError(code, code));
  await expect(cache.get("batch", still("gone"), fail("image_not_found"), signal)).rejects.toMatchObject({ code: "image_not_found" });
  await expect(cache.get("batch", still("gone"), load("gone"), signal)).rejects.toMatchObject({ code: "image_not_found" });
  await expect(cache.get("batch", still("away"), fail("storage_unavailable"), signal)).rejects.toMatchObject({
    code: "storage_unavailable",
  });
  await cache.get("batch", still("away"), load("away"), signal);
  expect(loads).toEqual(["away"]);
});

it("loads again for an item whose neighbour gave up", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  const { promise, reject } = Promise.withResolvers<LoadedImage>();
  const first = cache.get("batch", still("a"), () => promise, signal);
  const second = cache.get("batch", still("a"), load("a"), signal);
  reject(new CodedError("aborted", "the chunk was given up"));
  await expect(first).rejects.toMatchObject({ code: "aborted" });
  expect((await second).frames[0]?.length).toBe(256);
  expect(loads).toEqual(["a"]);
});

it("tells an image that must be one version from one that must be another", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  for (const etag of ["1", "2", null, "1"]) await cache.get("batch", { ...still("a"), etag }, load(etag ?? "any"), signal);
  expect(loads).toEqual(["1", "2", "any"]);
});

it("tells an animation's first frame from its sampled ones, and weighs all of them", async () => {
  const cache = openPixelCache({ maxBytes: 100_000 });
  const { loads, load } = counted();
  const three = () => Promise.resolve(loaded([1, 2, 3].map((level) => new Float32Array(10_000).fill(level))));
  expect((await cache.get("batch", still("a"), load("first"), signal)).frames).toHaveLength(1);
  expect((await cache.get("batch", { image: "a", etag: null, frames: 1 }, load("middle"), signal)).frames).toHaveLength(1);
  expect((await cache.get("batch", still("a"), load("first again"), signal)).frames).toHaveLength(1);
  expect(loads).toEqual(["first", "middle"]);
  // 120,000 bytes: too many to be kept, and everything else goes before them.
  expect((await cache.get("batch", { image: "a", etag: null, frames: 3 }, three, signal)).frames.map(([level]) => level)).toEqual([
    1, 2, 3,
  ]);
  await cache.get("batch", still("a"), load("first, after all"), signal);
  expect(loads).toEqual(["first", "middle", "first, after all"]);
});

it("keeps of an image that wasn't decoded what its bytes were, and loads it anew for who needs its pixels", async () => {
  const cache = openPixelCache({ maxBytes: mebibyte });
  const { loads, load } = counted();
  const seen = () => {
    loads.push("seen");
    return Promise.resolve({ frames: null, etag: "1", sha256: "2" });
  };
  await Promise.all([cache.peek("batch", still("a"), seen, signal), cache.peek("batch", still("a"), seen, signal)]);
  expect(await cache.peek("batch", still("a"), seen, signal)).toEqual({ frames: null, etag: "1", sha256: "2" });
  const decoded = await Promise.all([cache.get("batch", still("a"), load("a"), signal), cache.get("batch", still("a"), load("a"), signal)]);
  expect(decoded.map(({ frames }) => frames.length)).toEqual([1, 1]);
  expect((await cache.peek("batch", still("a"), seen, signal)).frames).not.toBeNull();
  expect(loads).toEqual(["seen", "a"]);
});
