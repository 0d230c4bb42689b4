/** Real images: the references', and forms that they lack, written by sharp. What Pillow makes of the latter was compared once by hand (equal to the bit). Long, for so are the forms that an image can have. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { isCoded, limits } from "@flamboyance/contracts";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { clipNormalisation } from "../description.ts";
import { decodeFrameRasters, decodeFrames, decodePixels, decodeRaster, type FrameOptions } from "./image.ts";
import type { Raster } from "./raster.ts";
import { readSafetensors } from "../import/safetensors.ts";

const reference = join(import.meta.dirname, "../../reference");
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

  test("what is two things at a time is neither", async () => {
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>`;
    // Each begins as one format and holds another, at the place where a careless reader looks.
    const gif = await plain().gif().toBuffer();
    for (const bytes of [
      Buffer.from(`GIF89a  ${svg}`),
      Buffer.from(`GIF89a${"A".repeat(40)}${svg}`),
      Buffer.concat([Buffer.from("II*\0"), Buffer.from(svg)]),
      Buffer.concat([Buffer.from("\0\0\0\x1cftypavif"), Buffer.from(svg)]),
      Buffer.concat([Buffer.from("RIFF\x24\0\0\0WEBP"), photo]),
    ])
      expect(await codeOf(decodeRaster(bytes, { maxPixels }))).toMatch(/^image_(unsupported|unreadable)$/);
    // What follows an image is no part of it, and isn't looked at.
    const archive = Buffer.from("PK\x03\x04 and <script>alert(1)</script>");
    const { data } = await decodeRaster(gif, { maxPixels });
    expect((await decodeRaster(Buffer.concat([gif, archive]), { maxPixels })).data).toEqual(data);
    expect((await decodeRaster(Buffer.concat([photo, archive]), { maxPixels })).width).toBe((await sharp(photo).metadata()).width);
  });

  test("a PNG's texts and profile aren't unpacked: a thousandfold bomb in them costs nothing and is no fault", async () => {
    const bomb = deflateSync(Buffer.alloc(16 * 1024 * 1024));
    for (const [name, head] of [
      ["zTXt", "a\0\0"],
      ["iTXt", "a\0\x01\0\0\0"],
      ["iCCP", "a\0\0"],
    ] as const) {
      const body = Buffer.concat([Buffer.from(name + head, "latin1"), bomb]);
      const chunk = Buffer.alloc(body.length + 8);
      chunk.writeUInt32BE(body.length - 4, 0);
      body.copy(chunk, 4);
      chunk.writeUInt32BE(crc32(body), body.length + 4);
      const png = await plain().png().toBuffer();
      const { data, width } = await decodeRaster(Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)]), { maxPixels });
      expect([width, ...data.subarray(0, 3)], name).toEqual([6, 200, 30, 60]);
    }
  });

  test("a PNG that unpacks to more than its header says gives what the header says, or nothing", async () => {
    const png = await plain().png().toBuffer();
    const body = Buffer.concat([Buffer.from("IDAT"), deflateSync(Buffer.alloc(16 * 1024 * 1024))]);
    const chunk = Buffer.alloc(body.length + 8);
    chunk.writeUInt32BE(body.length - 4, 0);
    body.copy(chunk, 4);
    chunk.writeUInt32BE(crc32(body), body.length + 4);
    const result = await decodeRaster(Buffer.concat([png.subarray(0, 33), chunk, png.subarray(-12)]), { maxPixels }).then(
      ({ data }) => data.length,
      (error: unknown) => (isCoded(error) ? error.code : String(error)),
    );
    expect([6 * 4 * 3, "image_unreadable"]).toContain(result);
  });

  test("an animation of more frames than the limit is refused by its blocks, also where the first alone is wanted", async () => {
    const frame = Buffer.from([0x21, 0xf9, 4, 0, 1, 0, 0, 0, 0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0]);
    const head = Buffer.from([...Buffer.from("GIF89a"), 1, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    const gif = (frames: number) => Buffer.concat([head, ...Array.from({ length: frames }, () => frame), Buffer.from([0x3b])]);
    expect((await decodeRaster(gif(20), { maxPixels })).width).toBe(1);
    expect(await codeOf(decodeRaster(gif(limits.animationFrames + 1), { maxPixels }))).toBe("image_too_large");
    const many = { frames: 2, maxPixels, maxAnimationPixels: maxPixels };
    expect(await codeOf(decodeFrames(gif(1_000_000), { imageSize: 8, ...clipNormalisation }, many))).toBe("image_too_large");
  });

  test("whoever decodes is told how much will be held before anything is decoded, and may hold it up or refuse", async () => {
    const seen: number[] = [];
    const enter = (bytes: number) => {
      seen.push(bytes);
      return Promise.reject(new Error("no room"));
    };
    await expect(decodeRaster(await plain().png().toBuffer(), { maxPixels, enter })).rejects.toThrow("no room");
    await expect(decodeRaster(readFileSync(join(import.meta.dirname, "fixtures/grey-16.png")), { maxPixels, enter })).rejects.toThrow(
      "no room",
    );
    expect(await codeOf(decodeRaster(photo, { maxPixels: 1, enter }))).toBe("image_too_large");
    const { width, height } = await sharp(readFileSync(join(import.meta.dirname, "fixtures/grey-16.png"))).metadata();
    // A raster of 8 bits and the picture at its own depth.
    expect(seen).toEqual([6 * 4 * 3 * 2, width * height * 3]);
  });

  test("an image that is no longer wanted isn't decoded", async () => {
    expect(await codeOf(decodeRaster(photo, { maxPixels, signal: AbortSignal.abort() }))).toBe("aborted");
  });
});

describe("fast pixels", () => {
  const preprocessing = { imageSize: 32, ...clipNormalisation };
  /** Waves of several lengths, none a divisor of a side: what a shift or a coarse filter would show. */
  const waves = (width: number, height: number) =>
    sharp(
      Uint8Array.from({ length: width * height * 3 }, (_, at) => {
        const [x, y, channel] = [Math.trunc(at / 3) % width, Math.trunc(at / 3 / width), at % 3];
        return 128 + 60 * Math.sin((x + 2 * y) / 37 + channel) + 50 * Math.cos((x - y) / 11);
      }),
      { raw: { width, height, channels: 3 } },
    );
  const both = (bytes: Uint8Array) =>
    Promise.all((["exact", "fast"] as const).map((pixels) => decodePixels(bytes, preprocessing, { maxPixels, pixels })));
  const meanLevels = (one: Float32Array, other: Float32Array) =>
    (one.reduce((sum, value, index) => sum + Math.abs(value - (other[index] ?? 0)), 0) / one.length) * 0.27 * 255;

  test.each([
    // 433 and 611 are shrunk by 4, 193 by 2, 647 by 8: each leaves something over.
    ["jpeg", 611, 433, 1.5],
    ["jpeg", 193, 1_000, 1.5],
    ["jpeg", 1_001, 647, 1.5],
    ["webp", 611, 433, 1.5],
    ["webp", 193, 1_000, 1.5],
  ] as const)("of a %s of %i × %i lie within %d levels of 256 of the exact ones, at the mean", async (format, width, height, levels) => {
    const [exact = new Float32Array(), fast = new Float32Array()] = await both(await waves(width, height).toFormat(format).toBuffer());
    expect(fast.length).toBe(3 * 32 * 32);
    expect(fast).not.toEqual(exact);
    expect(meanLevels(exact, fast)).toBeLessThan(levels);
  });

  test("come of an image decoded to no less than was enough", async () => {
    const bytes = await waves(611, 433).jpeg().toBuffer();
    const { width, height } = await decodeRaster(bytes, { maxPixels, shrinkFor: 32 });
    expect([width, height]).toEqual([90, 64]);
  });

  test.each([
    // Sides that are 5 and 9 times what is left for Pillow, and one less: where sharp goes on to a quarter and an eighth.
    { width: 407, height: 319, factor: 2 },
    { width: 407, height: 320, factor: 4 },
    { width: 711, height: 575, factor: 4 },
    { width: 711, height: 576, factor: 8 },
  ])("know how small sharp decodes a JPEG of $width × $height: by $factor", async ({ width, height, factor }) => {
    // What only its last columns are white of is black where the decoder leaves them out.
    const decoded = async (whiteColumns: number) => {
      const lines = Uint8Array.from({ length: width * height }, (_, at) => (at % width >= width - whiteColumns ? 255 : 0));
      const bytes = await sharp(lines, { raw: { width, height, channels: 1 } })
        .jpeg({ quality: 100 })
        .toBuffer();
      return decodeRaster(bytes, { maxPixels, shrinkFor: 32 });
    };
    const brightest = ({ data }: Raster) => data.reduce((most, value) => Math.max(most, value), 0);
    const leftOut = await decoded(factor - 1);
    expect(brightest(leftOut)).toBeLessThan(40);
    expect(brightest(await decoded(factor + 2))).toBeGreaterThan(40);
    expect(leftOut.shrunkFrom?.across).toBeCloseTo((leftOut.width * width) / (width - (width % factor)), 10);
  });

  test("are the exact ones where an image isn't large enough, or of another form", async () => {
    const large = waves(200, 200);
    for (const bytes of [
      await waves(191, 300).jpeg().toBuffer(),
      await large.clone().png().toBuffer(),
      await large.clone().tiff().toBuffer(),
      await large.clone().toColourspace("cmyk").jpeg().toBuffer(),
    ]) {
      const [exact, fast] = await both(bytes);
      expect(fast).toEqual(exact);
    }
  });

  test("keep grey grey, and say as exact ones do what can't be decoded", async () => {
    const grey = await waves(400, 300).toColourspace("b-w").jpeg().toBuffer();
    expect((await decodeRaster(grey, { maxPixels, shrinkFor: 32 })).channels).toBe(1);
    const cut = { maxPixels, pixels: "fast" } as const;
    expect(await codeOf(decodePixels(grey.subarray(0, grey.length / 2), preprocessing, cut))).toBe("image_unreadable");
    expect(await codeOf(decodePixels(grey, preprocessing, { ...cut, maxPixels: 400 * 300 - 1 }))).toBe("image_too_large");
  });

  test("are the same where frames are asked for of an image that has one", async () => {
    const bytes = await waves(611, 433).webp().toBuffer();
    const options = { maxPixels, pixels: "fast" } as const;
    expect(await decodeFrames(bytes, preprocessing, { ...options, frames: 3, maxAnimationPixels: maxPixels })).toEqual([
      await decodePixels(bytes, preprocessing, options),
    ]);
  });
});

describe.each(["gif", "webp"] as const)("frames of a %s animation", (format) => {
  const [width, height] = [8, 6];
  /** Frame k shows k white pixels more than a black first one, at places 1 … k: each is told from every other, and is right only on top of all before it. */
  const animation = (count: number, options: { size?: readonly [number, number] } = {}) => {
    const [across, down] = options.size ?? [width, height];
    const stack = Uint8Array.from({ length: across * down * count * 3 }, (_, at) => {
      const pixel = Math.trunc(at / 3);
      const place = pixel % (across * down);
      return place >= 1 && place <= Math.trunc(pixel / (across * down)) ? 255 : 0;
    });
    const image = sharp(stack, { raw: { width: across, height: down * count, channels: 3, pageHeight: down } });
    const delay = Array.from({ length: count }, () => 40);
    return (format === "gif" ? image.gif({ delay, interFrameMaxError: 0 }) : image.webp({ delay, lossless: true })).toBuffer();
  };
  const decode = async (bytes: Uint8Array, frames: number, further: Partial<FrameOptions> = {}) => {
    const rasters = [];
    for await (const raster of decodeFrameRasters(bytes, { frames, maxPixels, maxAnimationPixels: maxPixels, ...further }))
      rasters.push(raster);
    return rasters;
  };
  /** Which frame it is, by its white pixels; all of them must be where that frame has them. */
  const numberOf = ({ data, channels }: { readonly data: Uint8Array; readonly channels: number }) => {
    const white = [...Array(data.length / channels).keys()].filter((place) => (data[place * channels] ?? 0) > 128);
    expect(white).toEqual(white.map((_, index) => index + 1));
    return white.length;
  };

  test("are those of the law, each whole", async () => {
    const bytes = await animation(10);
    for (const [wanted, expected] of [
      [1, [5]],
      [3, [1, 5, 8]],
      [4, [1, 3, 6, 8]],
      [10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
      [64, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ] as const) {
      const rasters = await decode(bytes, wanted);
      expect(rasters.map(numberOf)).toEqual(expected);
      for (const raster of rasters)
        expect([raster.width, raster.height, raster.data.length]).toEqual([width, height, width * height * raster.channels]);
    }
  });

  test("are the same where not all that lie between fit into one run", async () => {
    const bytes = await animation(10);
    const further = { maxPixels: 4 * width * height, maxAnimationPixels: 10 * width * height };
    expect((await decode(bytes, 4, further)).map(numberOf)).toEqual([1, 3, 6, 8]);
  });

  test("become pixels as images of their own do", async () => {
    const bytes = await animation(7, { size: [48, 40] });
    const preprocessing = { imageSize: 32, ...clipNormalisation };
    const pixels = await decodeFrames(bytes, preprocessing, { frames: 3, maxPixels, maxAnimationPixels: maxPixels });
    const alone = await Promise.all(
      (await decode(bytes, 3)).map(async ({ data, width: across, height: down, channels }) =>
        decodePixels(
          await sharp(data, { raw: { width: across, height: down, channels } })
            .png()
            .toBuffer(),
          preprocessing,
          { maxPixels },
        ),
      ),
    );
    expect(pixels).toEqual(alone);
    expect(new Set(pixels.map((frame) => frame.join())).size).toBe(3);
  });

  test("are refused where those taken, or all of them, have too many pixels, and the first alone is not", async () => {
    const bytes = await animation(40);
    const area = width * height;
    expect(await codeOf(decode(bytes, 4, { maxPixels: 4 * area - 1 }))).toBe("image_too_large");
    expect(await codeOf(decode(bytes, 1, { maxPixels: area, maxAnimationPixels: 40 * area - 1 }))).toBe("image_too_large");
    expect((await decodeRaster(bytes, { maxPixels: area })).height).toBe(height);
  });

  test("that are cut off are image_unreadable", async () => {
    const bytes = await animation(10);
    for (const share of [0.3, 0.5, 0.7, 0.9, 0.97])
      expect(await codeOf(decode(bytes.subarray(0, Math.trunc(bytes.length * share)), 4)), `${share} of it`).toBe("image_unreadable");
  });
});

test("an image that is no animation has one frame, however many are asked for", async () => {
  const photo = readFileSync(join(images, "photo.jpg"));
  const pages = await sharp(new Uint8Array(6 * 8 * 3), { raw: { width: 6, height: 8, channels: 3, pageHeight: 4 } })
    .tiff()
    .toBuffer();
  const still = await plain().webp().toBuffer();
  for (const bytes of [photo, pages, still]) {
    const preprocessing = { imageSize: 32, ...clipNormalisation };
    const frames = await decodeFrames(bytes, preprocessing, { frames: 8, maxPixels, maxAnimationPixels: maxPixels });
    expect(frames).toEqual([await decodePixels(bytes, preprocessing, { maxPixels })]);
  }
});
