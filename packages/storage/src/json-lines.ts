/**
 * JSON lines, as bytes: read line by line, written in pieces.
 * Owns where a line begins and ends and whether it is UTF-8. Refuses to parse: what a line must hold is its reader's business.
 */
import { isAscii, isUtf8 } from "node:buffer";

/** A line, or why it isn't one. `number` counts from 1; `offsetBytes` and `sizeBytes` leave out the line's end. */
export type Line =
  | { readonly kind: "line"; readonly text: string; readonly number: number; readonly offsetBytes: number; readonly sizeBytes: number }
  | { readonly kind: "tooLong"; readonly number: number; readonly offsetBytes: number; readonly sizeBytes: number }
  | { readonly kind: "notUtf8"; readonly number: number; readonly offsetBytes: number; readonly sizeBytes: number };

/**
 * Gives every line, empty ones too, holding one line and one piece at most. `\n` and `\r\n` end a line, a missing last end is tolerated, a byte order mark at
 * the start is left out. Lines over `maxLineBytes` and lines that aren't strict UTF-8 are told as such, and reading goes on.
 */
export async function* readLines(pieces: AsyncIterable<Uint8Array>, options: { readonly maxLineBytes: number }): AsyncGenerator<Line> {
  for await (const lines of readLinePieces(pieces, options)) yield* lines;
}

/** The same lines, those that end in a piece together: of a million short ones, a turn for each would take longer than reading it. */
export async function* readLinePieces(
  pieces: AsyncIterable<Uint8Array>,
  { maxLineBytes }: { readonly maxLineBytes: number },
): AsyncGenerator<readonly Line[]> {
  let held: Buffer[] = []; // the open line's beginning, from earlier pieces; never more than maxLineBytes + 1 (a "\r" may yet go)
  let heldBytes = 0;
  let lineBytes = 0; // the open line's length so far, held or not
  let offsetBytes = 0; // where the open line begins
  let number = 1;

  /** `passing` bytes are a view of a piece that the open line outlives: they are copied, unless the line is too long anyhow. */
  const hold = (slice: Buffer, passing: boolean): void => {
    lineBytes += slice.length;
    if (lineBytes > maxLineBytes + 1) {
      held = [];
      heldBytes = 0;
    } else {
      held.push(passing ? Buffer.from(slice) : slice);
      heldBytes += slice.length;
    }
  };
  const close = (endBytes: number): Line => {
    const whole = heldBytes === lineBytes;
    const bytes = whole && held.length === 1 ? (held[0] ?? Buffer.alloc(0)) : Buffer.concat(held);
    const line = whole
      ? judge(bytes, number, offsetBytes, maxLineBytes)
      : { kind: "tooLong" as const, number, offsetBytes, sizeBytes: lineBytes };
    offsetBytes += lineBytes + endBytes;
    number += 1;
    held = [];
    heldBytes = 0;
    lineBytes = 0;
    return line;
  };

  for await (const bytes of withoutByteOrderMark(pieces, (skippedBytes) => (offsetBytes = skippedBytes))) {
    const lines: Line[] = [];
    // Nearly all text is ASCII: its bytes are its characters, and one look at the piece spares one at each line.
    const ascii = isAscii(bytes) ? bytes.toString("latin1") : null;
    let start = 0;
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, start)) {
      if (ascii === null || lineBytes > 0) {
        hold(bytes.subarray(start, end), false);
        lines.push(close(1));
      } else {
        const sizeBytes = end > start && bytes[end - 1] === carriageReturn ? end - start - 1 : end - start;
        const where = { number, offsetBytes, sizeBytes };
        lines.push(
          sizeBytes > maxLineBytes
            ? { kind: "tooLong", ...where }
            : { kind: "line", text: ascii.slice(start, start + sizeBytes), ...where },
        );
        offsetBytes += end - start + 1;
        number += 1;
      }
      start = end + 1;
    }
    if (start < bytes.length) hold(bytes.subarray(start), true);
    if (lines.length > 0) yield lines;
  }
  if (lineBytes > 0) yield [close(0)];
}

/** One record as a line with its end. JSON's own escapes keep newlines out and lone surrogates well-formed. */
export function jsonLine(record: unknown): string {
  return `${JSON.stringify(record)}\n`;
}

const newline = 0x0a;
const carriageReturn = 0x0d;
const byteOrderMark = [0xef, 0xbb, 0xbf];

function judge(bytes: Buffer, number: number, offsetBytes: number, maxLineBytes: number): Line {
  const body = bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes;
  const where = { number, offsetBytes, sizeBytes: body.length };
  if (body.length > maxLineBytes) return { kind: "tooLong", ...where };
  return isUtf8(body) ? { kind: "line", text: body.toString("utf8"), ...where } : { kind: "notUtf8", ...where };
}

/** Passes the pieces on as Buffers; the first three bytes, however cut, are looked at for a mark. */
async function* withoutByteOrderMark(pieces: AsyncIterable<Uint8Array>, onMark: (skippedBytes: number) => void): AsyncGenerator<Buffer> {
  let start: Buffer | null = Buffer.alloc(0);
  for await (const piece of pieces) {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    if (start === null) {
      yield bytes;
      continue;
    }
    start = Buffer.concat([start, bytes]);
    if (start.length < byteOrderMark.length) continue;
    const marked = byteOrderMark.every((byte, at) => start?.[at] === byte);
    if (marked) onMark(byteOrderMark.length);
    yield marked ? start.subarray(byteOrderMark.length) : start;
    start = null;
  }
  if (start !== null && start.length > 0) yield start;
}
