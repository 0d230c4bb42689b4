/**
 * Bytes of an image to a model's pixels. The only file that imports sharp: decoding at full size unless fast pixels are asked for, no turning by EXIF, no colour
 * profiles; of many frames the first, or some of an animation's, as the screen shows them. Owns the image_* errors and the limits of pixels, which are checked before anything is decoded;
 * refuses formats that can carry scripts or references (SVG, PDF).
 */
import sharp, { type Metadata, type Sharp } from "sharp";
import { CodedError, limits, type PixelMode } from "@flamboyance/contracts";
import { chooseFrames } from "./choose-frames.ts";
import { countFrames } from "./count-frames.ts";
import type { Preprocessing } from "../description.ts";
import { gifIsCutOff } from "./gif-blocks.ts";
import type { Raster } from "./raster.ts";
import { normalise, resizeToSquare } from "./resample.ts";
import { shrunkFrom, shrunkSize } from "./shrink.ts";

export interface DecodeOptions {
  /** Width × height, times the frames taken, above which an image isn't decoded: `image_too_large`. */
  readonly maxPixels: number;
  /**
   * exact (where it is left out): as Pillow makes them. fast: a JPEG, or a WebP that is no animation, of at least six times the model's side is decoded to two or
   * three times the side, and resized from there: a level or two of 256 off at the mean, most often less.
   */
  readonly pixels?: PixelMode;
  /** Told how many bytes decoding will hold at once, of an image that is within the limits; nothing is decoded before it resolves. */
  readonly enter?: (bytes: number) => Promise<void>;
  readonly signal?: AbortSignal;
}

/** As bytes become a raster: what the model takes isn't known. */
type RasterOptions = Omit<DecodeOptions, "pixels"> & {
  /** The side of the model that a smaller picture is enough for (shrink.ts); null: the picture comes whole. */
  readonly shrinkFor?: number | null;
};

export interface FrameOptions extends DecodeOptions {
  /** How many frames are taken, evenly spaced (chooseFrames); all of an animation that has fewer, and the one of an image that is none. */
  readonly frames: number;
  /** Width × height × all frames above which an animation isn't decoded, for each frame is painted over those before it: `image_too_large`. */
  readonly maxAnimationPixels: number;
}

/**
 * An image as (3, imageSize, imageSize) normalised fp32, as OpenFlamingo's preprocessing with Pillow gives it (palette images are expanded to RGB first, which that doesn't).
 * Of an animation, its first frame. Throws CodedError image_unsupported, image_unreadable, image_too_large, aborted. Decoding runs on libuv's threads, resampling on the caller's.
 */
export async function decodePixels(bytes: Uint8Array, preprocessing: Preprocessing, options: DecodeOptions): Promise<Float32Array> {
  const raster = await decodeRaster(bytes, { ...options, shrinkFor: options.pixels === "fast" ? preprocessing.imageSize : null });
  refuseAborted(options.signal);
  return normalise(resizeToSquare(raster, preprocessing.imageSize), preprocessing);
}

/** Frames of a GIF or WebP animation, in order, each as `decodePixels` gives an image. Throws as it does. */
export async function decodeFrames(bytes: Uint8Array, preprocessing: Preprocessing, options: FrameOptions): Promise<Float32Array[]> {
  const frames: Float32Array[] = [];
  for await (const raster of decodeFrameRasters(bytes, {
    ...options,
    shrinkFor: options.pixels === "fast" ? preprocessing.imageSize : null,
  }))
    frames.push(normalise(resizeToSquare(raster, preprocessing.imageSize), preprocessing));
  return frames;
}

/** An image as Pillow would hold it: grey, grey and alpha, RGB or RGBA, 8 bits. */
export async function decodeRaster(bytes: Uint8Array, { maxPixels, shrinkFor = null, enter, signal }: RasterOptions): Promise<Raster> {
  const image = await openImage(bytes, signal);
  refuseTooLarge(image, 1, maxPixels);
  await enter?.(heldBytes(image, 1));
  refuseAborted(signal);
  return decodeWhole(image, { shrinkFor });
}

/** The frames taken, one after the other, whole as the screen shows them: what a frame leaves as it was is there. */
export async function* decodeFrameRasters(
  bytes: Uint8Array,
  { frames, maxPixels, maxAnimationPixels, shrinkFor = null, enter, signal }: Omit<FrameOptions, "pixels"> & RasterOptions,
): AsyncGenerator<Raster> {
  const image = await openImage(bytes, signal);
  if (image.format === "gif" && gifIsCutOff(bytes)) throw unreadable("gif", "cut off");
  const chosen = chooseFrames(image.frames, frames);
  refuseTooLarge(image, chosen.length, maxPixels);
  refuseTooLarge(image, image.frames, Math.max(maxPixels, maxAnimationPixels));
  const { width, height } = image.metadata;
  const spans = spansOf(chosen, Math.trunc(maxPixels / (width * height)));
  await enter?.(heldBytes(image, Math.max(...spans.map((span) => (span.at(-1) ?? 0) - (span[0] ?? 0) + 1))));
  if (image.frames === 1) {
    refuseAborted(signal);
    yield await decodeWhole(image, { shrinkFor });
    return;
  }
  for (const span of spans) {
    refuseAborted(signal);
    const first = span[0] ?? 0;
    const last = span.at(-1) ?? first;
    const stack = await decodeWhole(image, { frames: { first, last } });
    const frameBytes = width * height * stack.channels;
    for (const index of span) {
      refuseAborted(signal);
      yield { ...stack, height, data: stack.data.subarray((index - first) * frameBytes, (index - first + 1) * frameBytes) };
    }
  }
}

/** Neighbours that are decoded in one run, none of which spans more than `most` frames: a run starts over at the animation's first frame, and holds all from its own first to its last. */
function spansOf(chosen: readonly number[], most: number): number[][] {
  const spans: number[][] = [];
  for (const index of chosen) {
    const span = spans.at(-1);
    if (span !== undefined && index - (span[0] ?? 0) < most) span.push(index);
    else spans.push([index]);
  }
  return spans;
}

interface OpenImage {
  readonly bytes: Uint8Array;
  readonly format: ImageFormat;
  /** Of its first frame. */
  readonly metadata: Metadata;
  /** 1 for all but animations: a TIFF's pages are images of their own. */
  readonly frames: number;
}

/** Reads no further than the headers. */
async function openImage(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<OpenImage> {
  refuseAborted(signal);
  const format = formatOf(bytes);
  if (format === null) throw unsupported();
  if (countFrames(bytes, format, limits.animationFrames) > limits.animationFrames)
    throw new CodedError("image_too_large", `the animation has more than ${limits.animationFrames} frames`);
  const metadata = await sharp(bytes, reading)
    .metadata()
    .catch((cause: unknown) => {
      throw unreadable(format, cause);
    });
  // Whoever is two things at a time is neither: the decoder is chosen by the library, which looks for more than the first bytes.
  if (metadata.format !== (format === "avif" ? "heif" : format)) throw unsupported();
  return { bytes, format, metadata, frames: format === "gif" || format === "webp" ? (metadata.pages ?? 1) : 1 };
}

/** Of a run of frames: the picture as it is decoded (an interlaced one whole, at its own depth), and the raster of 8 bits. Measured for an interlaced PNG of 100 million pixels. */
function heldBytes({ metadata: { width, height, channels, depth } }: OpenImage, frames: number): number {
  const sampleBytes = depth === "uchar" ? 1 : depth === "ushort" ? 2 : 4;
  return width * height * frames * channels * (sampleBytes + 1);
}

/** Its first frame, as small as is enough for a model; or those from `first` to `last` one below the other. */
async function decodeWhole(
  image: OpenImage,
  { frames = null, shrinkFor = null }: { readonly frames?: Span | null; readonly shrinkFor?: number | null },
): Promise<Raster> {
  const { bytes, format, metadata } = image;
  const pages = frames === null ? {} : { page: frames.first, pages: frames.last - frames.first + 1 };
  const input = sharp(bytes, { ...reading, ...pages });
  const size = shrinkFor === null ? null : shrunkSize(image, shrinkFor);
  const sized = size === null ? input : input.resize({ ...size, fit: "fill" });
  const { data, info } = await inPillowsMode(sized, format, metadata, bytes)
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true })
    .catch((cause: unknown) => {
      throw unreadable(format, cause, frames);
    });
  const { channels, width, height } = info;
  if (channels !== 1 && channels !== 2 && channels !== 3 && channels !== 4) throw unreadable(format, `${String(channels)} channels`);
  if (metadata.space === "cmyk") return { data: colourOfInk(data), width, height, channels: 3 };
  return { data, width, height, channels, ...(size === null ? {} : { shrunkFrom: shrunkFrom(image, size) }) };
}

/** Frames of an animation. */
interface Span {
  readonly first: number;
  readonly last: number;
}

function refuseTooLarge({ metadata: { width, height } }: OpenImage, frames: number, maxPixels: number): void {
  if (width * height * frames <= maxPixels) return;
  const what = frames === 1 ? `the image has ${width} × ${height} pixels` : `${frames} frames of ${width} × ${height} pixels are too many`;
  throw new CodedError("image_too_large", `${what}; at most ${maxPixels} are decoded`);
}

// Warnings (as of stray bytes between markers) don't stop Pillow either; missing data does.
const reading = { failOn: "error", limitInputPixels: false, ignoreIcc: true } as const;

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

function unsupported(): CodedError {
  return new CodedError("image_unsupported", "the bytes aren't a JPEG, PNG, WebP, GIF, TIFF or AVIF image");
}

function unreadable(format: ImageFormat, cause: unknown, frames: Span | null = null): CodedError {
  const where = frames === null ? "" : ` (frames ${frames.first} to ${frames.last}, from 0)`;
  return new CodedError("image_unreadable", `the image begins like ${format.toUpperCase()} but can't be decoded${where}`, { cause });
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new CodedError("aborted", "the image was no longer wanted", { cause: signal.reason });
}
