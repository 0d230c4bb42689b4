/** Times the two halves of an image's way to pixels. Owns where the one ends and the other begins. */
import type { PixelMode } from "@flamboyance/contracts";
import { clipNormalisation } from "../description.ts";
import { decodeRaster } from "../pixels/image.ts";
import { normalise, resizeToSquare } from "../pixels/resample.ts";

/** Milliseconds of decoding, and of resizing, cropping and normalising, for a model of `imageSize` pixels. */
export async function timePixels(bytes: Uint8Array, imageSize: number, pixels: PixelMode): Promise<{ decodeMs: number; resizeMs: number }> {
  const started = performance.now();
  const raster = await decodeRaster(bytes, { maxPixels: 1e9, shrinkFor: pixels === "fast" ? imageSize : null });
  const decoded = performance.now();
  normalise(resizeToSquare(raster, imageSize), clipNormalisation);
  return { decodeMs: decoded - started, resizeMs: performance.now() - decoded };
}
