/**
 * Bytes of an image to a model's pixels. The only file that imports sharp: decoding at full size, no turning by EXIF, no colour profiles, first frame of many.
 * Owns the image_* errors and the limit of pixels, which is checked before anything is decoded; refuses formats that can carry scripts or references (SVG, PDF).
 */
import sharp, { type Metadata, type Sharp } from "sharp";
import { CodedError } from "@flamboyance/contracts";
import type { Preprocessing } from "./description.ts";
import { normalise, resizeToSquare, type Raster } from "./resample.ts";

export interface DecodeOptions {
  /** Width × height above which an image isn't decoded: `image_too_large`. */
  readonly maxPixels: number;
  readonly signal?: AbortSignal;
}

/**
 * An image as (3, imageSize, imageSize) normalised fp32, as OpenFlamingo's preprocessing with Pillow gives it (palette images are expanded to RGB first, which that doesn't).
 * Throws CodedError image_unsupported, image_unreadable, image_too_large, aborted. Decoding runs on libuv's threads, resampling on the caller's.
 */
export async function decodePixels(bytes: Uint8Array, preprocessing: Preprocessing, options: DecodeOptions): Promise<Float32Array> {
  const raster = await decodeRaster(bytes, options);
  refuseAborted(options.signal);
  return normalise(resizeToSquare(raster, preprocessing.imageSize), preprocessing);
}

/** An image as Pillow would hold it: grey, grey and alpha, RGB or RGBA, 8 bits. */
export async function decodeRaster(bytes: Uint8Array, { maxPixels, signal }: DecodeOptions): Promise<Raster> {
  refuseAborted(signal);
  const format = formatOf(bytes);
  if (format === null) throw new CodedError("image_unsupported", "the bytes aren't a JPEG, PNG, WebP, GIF, TIFF or AVIF image");
  // Warnings (as of stray bytes between markers) don't stop Pillow either; missing data does.
  const image = sharp(bytes, { failOn: "error", limitInputPixels: false, ignoreIcc: true });
  const metadata = await image.metadata().catch((cause: unknown) => {
    throw unreadable(format, cause);
  });
  const { width, height } = metadata;
  if (width * height > maxPixels)
    throw new CodedError("image_too_large", `the image has ${width} × ${height} pixels; at most ${maxPixels} are decoded`);
  refuseAborted(signal);
  const { data, info } = await inPillowsMode(image, format, metadata, bytes)
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true })
    .catch((cause: unknown) => {
      throw unreadable(format, cause);
    });
  const { channels } = info;
  if (channels !== 1 && channels !== 2 && channels !== 3 && channels !== 4) throw unreadable(format, `${String(channels)} channels`);
  if (metadata.space === "cmyk") return { data: colourOfInk(data), width: info.width, height: info.height, channels: 3 };
  return { data, width: info.width, height: info.height, channels };
}

// One thread per image: a worker decodes several at once. Nothing is decoded twice, so there is nothing to cache.
sharp.concurrency(1);
sharp.cache(false);

/** Grey stays grey. Transparency is kept where Pillow has it as a channel; palette entries and single colours that are transparent lose it. */
function inPillowsMode(image: Sharp, format: ImageFormat, metadata: Metadata, bytes: Uint8Array): Sharp {
  // Without the first of the two, the inks would come by way of a printer's profile.
  if (metadata.space === "cmyk") return image.pipelineColourspace("cmyk").toColourspace("cmyk");
  const hasAlpha = metadata.hasAlpha && hasAlphaChannel(format, bytes);
  const opaque = metadata.hasAlpha && !hasAlpha ? image.removeAlpha() : image;
  // Grey with alpha comes as RGBA: the same arithmetic, three times.
  return opaque.toColourspace(metadata.channels <= 2 && !hasAlpha ? "b-w" : "srgb");
}

/** Cyan, magenta, yellow, black → RGB as Pillow does: no profiles, ink on ink. (Pillow resizes the inks; resizing the colours is all but the same.) */
function colourOfInk(inks: Uint8Array): Uint8Array {
  const colours = new Uint8Array((inks.length / 4) * 3);
  for (let pixel = 0; pixel * 4 < inks.length; pixel += 1) {
    const light = 255 - (inks[pixel * 4 + 3] ?? 0);
    for (let channel = 0; channel < 3; channel += 1) {
      const product = (inks[pixel * 4 + channel] ?? 0) * light + 128;
      colours[pixel * 3 + channel] = Math.max(0, light - (((product >> 8) + product) >> 8));
    }
  }
  return colours;
}

function hasAlphaChannel(format: ImageFormat, bytes: Uint8Array): boolean {
  // PNG's colour type: 4 and 6 have a channel, 0, 2 and 3 at most a tRNS chunk.
  if (format === "png") return ((bytes[25] ?? 0) & 4) !== 0;
  return format !== "gif";
}

type ImageFormat = "jpeg" | "png" | "webp" | "gif" | "tiff" | "avif";

/** By the first bytes, whatever a name or a header says. */
function formatOf(bytes: Uint8Array): ImageFormat | null {
  const head = Buffer.from(bytes.subarray(0, 12)).toString("latin1");
  if (head.startsWith("\xff\xd8\xff")) return "jpeg";
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (head.startsWith("RIFF") && head.slice(8) === "WEBP") return "webp";
  if (head.startsWith("GIF87a") || head.startsWith("GIF89a")) return "gif";
  if (head.startsWith("II*\0") || head.startsWith("MM\0*")) return "tiff";
  if (head.slice(4) === "ftypavif" || head.slice(4) === "ftypavis") return "avif";
  return null;
}

function unreadable(format: ImageFormat, cause: unknown): CodedError {
  return new CodedError("image_unreadable", `the image begins like ${format.toUpperCase()} but can't be decoded`, { cause });
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new CodedError("aborted", "the image was no longer wanted", { cause: signal.reason });
}
