import { CodedError, type ErrorCode } from "@flamboyance/contracts";
import { describe, expect, it } from "vitest";
import { framesOf, loadMedia, sourcesOf, type LoadedImage } from "./media.ts";

const images = ["a", "b", "c", "d", "e", "f", "g"];
const named = (shown: Parameters<typeof sourcesOf>[0], frames: number | undefined, maxFrames: number) =>
  sourcesOf(shown, frames, maxFrames).map(({ image, place }) => `${image}${place ?? ""}`);

describe("what is looked at", () => {
  it("is an image's first frame, or as many of its frames as the batch asks for", () => {
    expect(sourcesOf({ image: "a" }, undefined, 4)).toEqual([{ image: "a", etag: null, frames: null, place: null }]);
    expect(sourcesOf({ image: "a" }, 1, 4)).toEqual([{ image: "a", etag: null, frames: 1, place: null }]);
    expect(framesOf(sourcesOf({ image: "a" }, undefined, 4))).toBe(1);
    expect(framesOf(sourcesOf({ image: "a" }, 3, 4))).toBe(3);
  });

  it("is, of a list, as much as the batch asks for, or else as the model takes, each image's first frame", () => {
    expect(named({ images }, undefined, 64)).toEqual(["a0", "b1", "c2", "d3", "e4", "f5", "g6"]);
    expect(named({ images }, undefined, 3)).toEqual(["b1", "d3", "f5"]);
    expect(named({ images }, 1, 3)).toEqual(["d3"]);
    const sources = sourcesOf({ images }, 2, 3);
    expect(sources.map(({ frames }) => frames)).toEqual([null, null]);
    expect(framesOf(sources)).toBe(2);
  });
});

describe("loading it", () => {
  const loaded = (name: string, ...frames: Float32Array[]): LoadedImage => ({ frames, etag: `etag of ${name}`, sha256: `hash of ${name}` });
  const fail = (code: ErrorCode) => Promise.reject(new CodedError(code, `a ${code}`));

  it("gives all frames in order, whichever is there first", async () => {
    const late = Promise.withResolvers<LoadedImage>();
    const loading = loadMedia(sourcesOf({ images: ["a", "b"] }, undefined, 4), ({ image }) =>
      image === "a" ? late.promise : Promise.resolve(loaded("b", Float32Array.of(2))),
    );
    late.resolve(loaded("a", Float32Array.of(1)));
    expect(await loading).toEqual({
      frames: [Float32Array.of(1), Float32Array.of(2)],
      images: [
        { etag: "etag of a", sha256: "hash of a" },
        { etag: "etag of b", sha256: "hash of b" },
      ],
    });
    const [one, two] = [Float32Array.of(1), Float32Array.of(2)];
    expect((await loadMedia(sourcesOf({ image: "a" }, 2, 4), () => Promise.resolve(loaded("a", one, two)))).frames).toEqual([one, two]);
  });

  it("names a list's unreadable frame by its place, the earliest first, and a single image not at all", async () => {
    const load = ({ image }: { readonly image: string }) => (image === "a" ? Promise.resolve(loaded("a")) : fail("image_unreadable"));
    await expect(loadMedia(sourcesOf({ images: ["a", "a", "b", "c"] }, undefined, 4), load)).rejects.toMatchObject({
      code: "image_unreadable",
      message: "images[2]: a image_unreadable",
    });
    await expect(loadMedia(sourcesOf({ image: "b" }, 2, 4), load)).rejects.toMatchObject({ message: "a image_unreadable" });
  });

  it("throws a passing fault as it is, before any frame's own, and only when all have ended", async () => {
    const late = Promise.withResolvers<LoadedImage>();
    const sources = sourcesOf({ images: ["a", "b", "late"] }, undefined, 4);
    let ended = false;
    const loading = loadMedia(sources, ({ image }) =>
      image === "late" ? late.promise : fail(image === "a" ? "image_not_found" : "storage_unavailable"),
    ).finally(() => (ended = true));
    const caught = loading.catch((error: unknown) => error);
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended).toBe(false);
    late.resolve(loaded("late"));
    expect(await caught).toMatchObject({ code: "storage_unavailable", message: "a storage_unavailable" });
  });
});
