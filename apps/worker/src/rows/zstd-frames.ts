/**
 * A zstd stream's bytes, cut where one frame ends and the next begins (RFC 8878).
 * Why it is looked at at all: Node's decompressor takes a stream that is cut off for a whole one, and leaves out what follows a frame's end in the same
 * piece, which is how `pzstd` and a plain concatenation write it. Both would lose lines without a word. Owns where frames end; refuses to unpack them.
 */
import { CodedError } from "@flamboyance/contracts";

/** No piece reaches over a frame's end. Throws manifest_unreadable where no frame begins, or where the bytes end within one. */
export async function* wholeFrames(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const walk = walkFrames();
  let step = walk.next(none).value;
  let left = 4; // bytes that the step still wants
  let head = none; // of them, for a header, those that came
  let within = false;
  for await (const piece of pieces) {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    let start = 0; // of what hasn't been given on
    let at = 0;
    for (;;) {
      if (step.kind === "end") {
        yield bytes.subarray(start, at);
        start = at;
        within = false;
      } else {
        const taken = bytes.subarray(at, at + left);
        at += taken.length;
        left -= taken.length;
        within ||= taken.length > 0;
        if (step.kind === "header") head = Buffer.concat([head, taken]);
        if (left > 0) break;
      }
      step = walk.next(head).value;
      left = step.kind === "end" ? 0 : step.bytes;
      head = none;
    }
    if (start < bytes.length) yield bytes.subarray(start);
  }
  if (within) throw unreadable("its zstd bytes are cut off");
}

/** What comes next of a frame: a header, whose bytes the walk wants to see, a body, or the frame's end. */
type Step = { readonly kind: "header" | "body"; readonly bytes: number } | { readonly kind: "end" };

function* walkFrames(): Generator<Step, never, Buffer> {
  for (;;) {
    const magic = (yield { kind: "header", bytes: 4 }).readUInt32LE();
    if (magic >>> 4 === skippableMagic >>> 4) {
      yield { kind: "body", bytes: (yield { kind: "header", bytes: 4 }).readUInt32LE() };
    } else if (magic === frameMagic) {
      const descriptor = (yield { kind: "header", bytes: 1 }).readUInt8();
      yield { kind: "body", bytes: fieldsBytes(descriptor) };
      for (let last = false; !last;) {
        const block = (yield { kind: "header", bytes: 3 }).readUIntLE(0, 3);
        last = (block & 1) === 1;
        const repeated = ((block >>> 1) & 3) === 1;
        yield { kind: "body", bytes: repeated ? 1 : block >>> 3 };
      }
      if ((descriptor & checksumFlag) !== 0) yield { kind: "body", bytes: 4 };
    } else throw unreadable("its bytes aren't zstd's");
    yield { kind: "end" };
  }
}

const none = Buffer.alloc(0);
const frameMagic = 0xfd2fb528;
const skippableMagic = 0x184d2a50; // its last four bits are free
const singleSegmentFlag = 0x20;
const checksumFlag = 0x04;

/** Of the frame header's fields behind its descriptor: window, dictionary, content size. */
function fieldsBytes(descriptor: number): number {
  const singleSegment = (descriptor & singleSegmentFlag) !== 0;
  const window = singleSegment ? 0 : 1;
  const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const contentSize = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >>> 6] ?? 0;
  return window + dictionary + contentSize;
}

const unreadable = (message: string): CodedError => new CodedError("manifest_unreadable", message);
