/**
 * How many frames an animation has, by its blocks alone and no further than is asked for: libvips reads the whole of it to say so, for seconds where they are a million
 * of a pixel each. Owns that one question; refuses to judge anything else of a file.
 */
import { gifBlocks } from "./gif-blocks.ts";

/** Counted up to `most` + 1; 1 for what is no animation. */
export function countFrames(bytes: Uint8Array, format: string, most: number): number {
  if (format === "gif") return countOf(gifBlocks(bytes), most);
  return format === "webp" ? countOf(webpFrames(bytes), most) : 1;
}

function countOf(frames: Iterable<"picture" | "other">, most: number): number {
  let count = 0;
  for (const kind of frames) {
    if (kind === "picture") count += 1;
    if (count > most) break;
  }
  return Math.max(1, count);
}

/** The chunks of a RIFF: a name of four letters, a size, and so many bytes, an even number. */
function* webpFrames(bytes: Uint8Array): Generator<"picture" | "other"> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 12; at + 8 <= bytes.length;) {
    const sizeBytes = view.getUint32(at + 4, true);
    yield view.getUint32(at, false) === animationFrame ? "picture" : "other";
    at += 8 + sizeBytes + (sizeBytes % 2);
  }
}

/** ANMF. */
const animationFrame = 0x41_4e_4d_46;
