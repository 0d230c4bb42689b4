/**
 * The blocks of a GIF, as far as to see where it ends. libvips takes what is there of one that is cut off for all of it, and says nothing: frames would be chosen out of
 * too few. Owns that one question, and the walk; refuses to judge anything else of a file.
 */

/** Whether the file ends within a block. A trailer that lacks is none: many writers leave it out. */
export function gifIsCutOff(bytes: Uint8Array): boolean {
  const blocks = gifBlocks(bytes);
  for (;;) {
    const { done, value } = blocks.next();
    if (done === true) return value > bytes.length;
  }
}

/** Its pictures and extensions, one after the other. Returns where they end: behind the file's end where it is cut off. */
export function* gifBlocks(bytes: Uint8Array): Generator<"picture" | "other", number> {
  let at = 13 + colourTableBytes(bytes[10] ?? 0);
  while (at < bytes.length) {
    const kind = bytes[at];
    if (kind === extension) at = afterSubBlocks(bytes, at + 2);
    // A descriptor of ten bytes, its colours, the smallest code's width, the codes.
    else if (kind === picture) at = afterSubBlocks(bytes, at + 10 + colourTableBytes(bytes[at + 9] ?? 0) + 1);
    // The trailer, or something that no GIF has.
    else return 0;
    yield kind === picture ? "picture" : "other";
  }
  return at;
}

const extension = 0x21;
const picture = 0x2c;

function colourTableBytes(flags: number): number {
  return (flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1);
}

/** Behind the empty block that ends a row of them; behind the file's end where it lacks. */
function afterSubBlocks(bytes: Uint8Array, from: number): number {
  let at = from;
  for (;;) {
    const size = bytes[at];
    if (size === undefined) return Math.max(at, bytes.length) + 1;
    at += 1 + size;
    if (size === 0) return at;
  }
}
