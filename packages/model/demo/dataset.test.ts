import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { makeDemoScenes, makeSupportExamples, type DemoImage } from "./index.ts";

async function all(images: AsyncIterable<DemoImage>): Promise<DemoImage[]> {
  const list: DemoImage[] = [];
  for await (const image of images) list.push(image);
  return list;
}

describe("demo images", () => {
  test("they are real files of the formats they claim, with texts", async () => {
    const images = await all(makeDemoScenes({ seed: 1, count: 6 }));
    expect(images.map((image) => image.name.split(".")[1])).toEqual(["png", "jpg", "webp", "png", "jpg", "webp"]);
    for (const image of images) {
      const { format, width, height } = await sharp(image.bytes).metadata();
      expect(image.mediaType).toBe(`image/${format}`);
      expect(width).toBe(height);
      expect(width).toBeGreaterThanOrEqual(192);
      expect(width).toBeLessThanOrEqual(256);
      for (const text of [image.caption, image.question, image.answer, ...Object.values(image.told)]) expect(text).not.toBe("");
    }
  });

  test("the same order gives the same images; a longer one begins with them", async () => {
    const short = await all(makeDemoScenes({ seed: 2, count: 3, pixelSize: 200 }));
    const long = await all(makeDemoScenes({ seed: 2, count: 5, pixelSize: 200 }));
    expect(long.slice(0, 3)).toEqual(short);
    expect(await all(makeDemoScenes({ seed: 3, count: 3, pixelSize: 200 }))).not.toEqual(short);
  });

  test("no support example is a query", async () => {
    const queries = await all(makeDemoScenes({ seed: 4, count: 30, pixelSize: 64 }));
    const examples = await makeSupportExamples({ seed: 4, count: 8, pixelSize: 64 });
    const bytes = new Set(queries.map((image) => Buffer.from(image.bytes).toString("base64")));
    for (const example of examples) expect(bytes.has(Buffer.from(example.bytes).toString("base64"))).toBe(false);
    expect(examples).toHaveLength(8);
  });
});
