/**
 * To what size a large image is decoded where fast pixels are asked for: libjpeg and libwebp can leave out most of the work, libvips resizes the rest of the way.
 * Owns which images are shrunk, how far, and what sharp leaves unsaid about it; refuses to decode.
 */
import type { ShrunkFrom } from "./raster.ts";

export interface Picture {
  readonly format: string;
  /** 1 for all but animations. */
  readonly frames: number;
  /** As sharp has it. */
  readonly metadata: { readonly width: number; readonly height: number; readonly space: string };
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** From so many times the model's side on. A JPEG that is less than thrice too large isn't decoded smaller by sharp, but decoded whole and then resized. */
const leastTimes = 6;

/**
 * So many times the model's side are left for Pillow's arithmetic. Measured on waves of 50 and 100 pixels: once the side is off by up to 8 levels of 256 at the mean,
 * twice by 1 for a JPEG and 2 for a WebP, three times by 0.5 and 1.
 */
const enoughTimes: Readonly<Record<string, number>> = { jpeg: 2, webp: 3 };

/** Null where the picture comes whole. */
export function shrunkSize({ format, frames, metadata: { width, height, space } }: Picture, imageSize: number): Size | null {
  const short = Math.min(width, height);
  const times = enoughTimes[format];
  // An animation's frames come in stacks. Inks would be resized in a printer's colours.
  if (times === undefined || frames > 1 || space === "cmyk" || short < leastTimes * imageSize) return null;
  const shrunk = (length: number): number => Math.round((length * times * imageSize) / short);
  return { width: shrunk(width), height: shrunk(height) };
}

/**
 * Where the shrunk picture's pixels lie in the whole one. Of a JPEG that is decoded at an eighth, up to seven last columns and lines are missing, as libvips keeps whole
 * pixels only: left aside, this moves a small model's outer pixels by a third of their width. Everything else is resized from edge to edge.
 */
export function shrunkFrom({ format, metadata: { width, height } }: Picture, size: Size): ShrunkFrom {
  const factor = format === "jpeg" ? jpegShrink(Math.min(width / size.width, height / size.height)) : 1;
  const kept = (length: number): number => Math.trunc(length / factor) * factor;
  return { width, height, across: (size.width * width) / kept(width), down: (size.height * height) / kept(height) };
}

/** At which part of its size a JPEG is decoded: sharp's rule, about which it can't be asked. */
function jpegShrink(shrink: number): 1 | 2 | 4 | 8 {
  if (shrink >= 9) return 8;
  if (shrink >= 5) return 4;
  return shrink >= 3 ? 2 : 1;
}
