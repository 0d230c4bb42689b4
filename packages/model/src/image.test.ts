/** Real images: the references', and forms that they lack, written by sharp. What Pillow makes of the latter was compared once by hand (equal to the bit). */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { isCoded } from "@flamboyance/contracts";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { clipNormalisation } from "./description.ts";
import { decodePixels, decodeRaster } from "./image.ts";
import { readSafetensors } from "./import/safetensors.ts";

const reference = join(import.meta.dirname, "../reference");
const images = join(reference, "images");
const maxPixels = 10_000_000;

const red = { r: 200, g: 30, b: 60 };
const plain = (channels: 3 | 4 = 3) =>
  sharp({ create: { width: 6, height: 4, channels, background: channels === 4 ? { ...red, alpha: 0.5 } : red } });

async function codeOf(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.then(
    () => null,
    (reason: unknown) => reason,
  );
  return isCoded(error) ? error.code : String(error);
}

describe.each(["mpt-qk-norm", "mpt"])("the pixels of %s are the reference's", (name) => {
  test.each(readdirSync(images))("%s", async (image) => {
    const expected = (await readSafetensors(join(reference, name, "expected.safetensors"))).get(`pixels/${image}`);
    if (expected === undefined) throw new Error("the reference lacks this image");
    const pixels = new Float32Array((await expected.read()).slice().buffer);
    const actual = await decodePixels(
      readFileSync(join(images, image)),
      { imageSize: expected.shape[1] ?? 0, ...clipNormalisation },
      { maxPixels },
    );
    if (!image.endsWith(".jpg")) expect(actual).toEqual(pixels);
    // Decoders of JPEG may differ by a level: 1/255 over the smallest std, and a little rounding.
    else for (const [index, value] of actual.entries()) expect(Math.abs(value - (pixels[index] ?? 0))).toBeLessThan(1 / 255 / 0.26 + 1e-6);
  });
});

describe("forms that the references lack", () => {
  const firstPixel = async (bytes: Uint8Array): Promise<number[]> => {
    const { data, channels } = await decodeRaster(bytes, { maxPixels });
    return [...data.subarray(0, channels)];
  };

  test("16-bit PNG loses its lower bytes", async () => {
    // Levels 0 … 255, each × 256 + 200.
    const { data, channels } = await decodeRaster(readFileSync(join(import.meta.dirname, "fixtures/grey-16.png")), { maxPixels });
    expect(channels).toBe(1);
    for (const [level, value] of data.entries()) expect(Math.abs(value - level)).toBeLessThanOrEqual(1);
  });

  test("palette entries that are transparent are expanded to opaque RGB", async () => {
    expect(await firstPixel(await plain(4).png({ palette: true }).toBuffer())).toEqual([200, 30, 60]);
  });

  test("grey with alpha, and WebP with alpha, keep it", async () => {
    expect(await firstPixel(await plain(4).toColourspace("b-w").png().toBuffer())).toHaveLength(4);
    expect(await firstPixel(await plain(4).webp({ lossless: true }).toBuffer())).toEqual([200, 30, 60, 128]);
  });

  test("grey JPEG is one channel", async () => {
    expect(await firstPixel(await plain().toColourspace("b-w").jpeg().toBuffer())).toHaveLength(1);
  });

  test("CMYK JPEG becomes RGB as Pillow makes it, ink on ink", async () => {
    expect(await firstPixel(readFileSync(join(import.meta.dirname, "fixtures/cmyk.jpg")))).toEqual([197, 44, 125]);
  });

  test("of an animation the first frame counts", async () => {
    const frames = await sharp(
      Uint8Array.from({ length: 6 * 8 * 3 }, (_, at) => (at < 6 * 4 * 3 ? 250 : 0)),
      { raw: { width: 6, height: 8, channels: 3, pageHeight: 4 } },
    )
      .gif({ loop: 0, delay: [50, 50] })
      .toBuffer();
    const raster = await decodeRaster(frames, { maxPixels });
    expect([raster.width, raster.height]).toEqual([6, 4]);
    expect(raster.data[0]).toBeGreaterThan(200);
  });

  test("TIFF and AVIF are read", async () => {
    expect(await firstPixel(await plain().tiff({ compression: "lzw" }).toBuffer())).toEqual([200, 30, 60]);
    expect(await firstPixel(await plain().avif({ lossless: true }).toBuffer())).toHaveLength(3);
  });
});

describe("what isn't decoded", () => {
  const photo = readFileSync(join(images, "photo.jpg"));

  test.each([
    ["nothing at all", new Uint8Array()],
    ["text", Buffer.from("<html><body>403 Forbidden</body></html>")],
    ["SVG, which may refer to anything", Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>')],
    ["PDF", Buffer.from("%PDF-1.7\n")],
    ["a sound in RIFF", Buffer.from("RIFF\x24\0\0\0WAVEfmt ")],
  ])("%s is image_unsupported", async (_, bytes) => {
    expect(await codeOf(decodeRaster(bytes, { maxPixels }))).toBe("image_unsupported");
  });

  test.each(readdirSync(images).filter((name) => !name.startsWith("frame")))("%s, cut off, is image_unreadable", async (name) => {
    const whole = readFileSync(join(images, name));
    for (const share of [0.1, 0.5, 0.9])
      expect(await codeOf(decodeRaster(whole.subarray(0, Math.trunc(whole.length * share)), { maxPixels })), `${share} of it`).toBe(
        "image_unreadable",
      );
  });

  test("a beginning and then noise is image_unreadable", async () => {
    const noise = Buffer.concat([photo.subarray(0, 4), Buffer.alloc(400, 0x5a)]);
    expect(await codeOf(decodeRaster(noise, { maxPixels }))).toBe("image_unreadable");
  });

  test("too many pixels are refused by the header alone, whatever follows it", async () => {
    const { width, height } = await sharp(photo).metadata();
    expect(await codeOf(decodeRaster(photo, { maxPixels: width * height - 1 }))).toBe("image_too_large");
    expect((await decodeRaster(photo, { maxPixels: width * height })).width).toBe(width);
    // A PNG whose header claims 20,000 × 20,000.
    const bomb = await plain().png().toBuffer();
    bomb.writeUInt32BE(20_000, 16);
    bomb.writeUInt32BE(20_000, 20);
    bomb.writeUInt32BE(crc32(bomb.subarray(12, 29)), 29);
    expect(await codeOf(decodeRaster(bomb, { maxPixels }))).toBe("image_too_large");
  });

  test("an image that is no longer wanted isn't decoded", async () => {
    expect(await codeOf(decodeRaster(photo, { maxPixels, signal: AbortSignal.abort() }))).toBe("aborted");
  });
});
