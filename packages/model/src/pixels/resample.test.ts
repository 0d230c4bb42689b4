import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { Raster } from "./raster.ts";
import { normalise, resizeToSquare } from "./resample.ts";

const raster = (
  width: number,
  height: number,
  channels: Raster["channels"],
  level: (x: number, y: number, channel: number) => number,
): Raster => ({
  width,
  height,
  channels,
  data: Uint8Array.from({ length: width * height * channels }, (_, at) =>
    level(Math.trunc(at / channels) % width, Math.trunc(at / channels / width), at % channels),
  ),
});

test("a size that stays is left as it is, alpha and all", () => {
  const image = raster(4, 4, 4, (x, y, channel) => (channel === 3 ? 1 : x * 60 + y));
  expect(resizeToSquare(image, 4).data).toEqual(image.data);
});

test("an even image stays even, at any size", () => {
  for (const size of [1, 3, 8, 50])
    expect(
      new Set(
        resizeToSquare(
          raster(13, 29, 3, () => 200),
          size,
        ).data,
      ),
    ).toEqual(new Set([200]));
});

test("a step overshoots on both sides, clipped to a byte: Pillow's numbers", () => {
  // PIL 10.4: Image.fromarray([[0, 0, 128, 255, 255]] * 5).resize((10, 10), BICUBIC), first row
  const grey = resizeToSquare(
    raster(5, 5, 1, (x) => [0, 0, 128, 255, 255][x] ?? 0),
    10,
  );
  expect([...grey.data.subarray(0, 10)]).toEqual([0, 0, 0, 23, 93, 163, 232, 255, 255, 255]);
});

// sha256 (its begin) of what Pillow 10.4 and torchvision's arithmetic of sizes make of the same pattern: RGB, L, RGBA, LA.
test.each([
  [97, 61, 3, 16, "9465c017cfe5e426"],
  [40, 90, 1, 33, "f1e9b093bb56b303"],
  [50, 37, 4, 11, "28aad081a755d60b"],
  [23, 31, 2, 48, "dbf5932c9c51a7ff"],
  [300, 200, 4, 64, "9bfd27da1e58cc4f"],
] as const)("%i × %i of %i channels to %i is Pillow's, to the bit", (width, height, channels, size, expected) => {
  const image = raster(width, height, channels, (x, y, channel) => (x * 37 + y * 91 + channel * 53 + x * y * 7) % 256);
  expect(createHash("sha256").update(resizeToSquare(image, size).data).digest("hex").slice(0, 16)).toBe(expected);
});

test("the crop begins at the even half, as Python rounds", () => {
  // Left columns 0.5 → 0, 1.5 → 2, 2.5 → 2, 3.5 → 4 of an image that is only cropped.
  for (const [width, begin] of [
    [3, 0],
    [5, 2],
    [7, 2],
    [9, 4],
  ] as const)
    expect(
      resizeToSquare(
        raster(width, 2, 1, (x) => x),
        2,
      ).data[0],
      `${width} wide`,
    ).toBe(begin);
});

test("what is transparent doesn't bleed: colours are weighed by alpha", () => {
  // Opaque red beside transparent green: no green in the mixture.
  const image = raster(8, 8, 4, (x, _, channel) => (x < 4 ? [255, 0, 0, 255] : [0, 255, 0, 0])[channel] ?? 0);
  const small = resizeToSquare(image, 3).data;
  for (let pixel = 0; pixel < 9; pixel += 1) if ((small[pixel * 4 + 3] ?? 0) > 0) expect(small[pixel * 4 + 1]).toBe(0);
});

test("a sliver many thousand times as long as wide costs no more than its crop", () => {
  const sliver = resizeToSquare(
    raster(1, 60_000, 1, (_, y) => y % 256),
    224,
  );
  expect(sliver.data.length).toBe(224 * 224);
});

test("pixels are channels first, alpha dropped, grey repeated", () => {
  const statistics = { mean: [0.5, 0, 0], std: [0.5, 1, 2] };
  const colour = raster(2, 1, 4, (x, _, channel) => (channel === 3 ? 9 : x === 0 ? 255 : 0));
  expect([...normalise(colour, statistics)]).toEqual([1, -1, 1, 0, 0.5, 0]);
  expect([
    ...normalise(
      raster(1, 1, 1, () => 255),
      statistics,
    ),
  ]).toEqual([1, 1, 0.5]);
});
