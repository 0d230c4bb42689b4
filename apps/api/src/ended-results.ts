/**
 * A page of results of an ended batch: output.jsonl and errors.jsonl of its seal, merged by the places that their lines' ids carry.
 * Owns the way into the middle of such a file without an index. Refuses everything but the final files: parts may have been swept.
 */
import {
  CodedError,
  comparePositions,
  linePosition,
  resultLine,
  type End,
  type LinePosition,
  type ResultLine,
} from "@flamboyance/contracts";
import { readLines, type Location, type Storage } from "@flamboyance/storage";
import { invalidCursor, type FileOffsets, type ResultsCursor } from "./results-cursor.ts";
import type { Page, PageRequest } from "./running-results.ts";

export interface EndedFiles {
  readonly bucket: string;
  readonly seal: string;
  /** Null where the batch ended without a plan: there are no lines. */
  readonly files: End["files"];
}

export async function endedPage(
  storage: Storage,
  ended: EndedFiles,
  { cursor, limit, only }: PageRequest,
  signal: AbortSignal,
): Promise<Page> {
  if (ended.files === null) return { lines: [], next: cursor, more: false };
  const at = (key: string): Location => ({ bucket: ended.bucket, key });
  const output = at(ended.files.output.key);
  const errors = at(ended.files.errors.key);
  const start = await offsets(storage, ended.seal, cursor, { output, errors }, signal);
  const completed = new FileLines(storage, only === "failed" ? null : output, start.outputBytes, signal);
  const failed = new FileLines(storage, only === "completed" ? null : errors, start.errorsBytes, signal);
  const lines: ResultLine[] = [];
  let last = cursor.last;
  try {
    for (
      let nearest = await firstOf(completed, failed);
      nearest !== null && lines.length < limit;
      nearest = await firstOf(completed, failed)
    ) {
      const taken = nearest.take();
      lines.push(taken.value);
      last = taken.position;
    }
    const more = (await firstOf(completed, failed)) !== null;
    const files = { seal: ended.seal, outputBytes: completed.offsetBytes, errorsBytes: failed.offsetBytes };
    // Offsets of a file that `only` leaves out would be wrong for another `only`: the places decide then.
    return { lines, next: { ...cursor, last, place: null, files: only === null ? files : null }, more };
  } finally {
    await completed.close();
    await failed.close();
  }
}

async function offsets(
  storage: Storage,
  seal: string,
  { last, files }: ResultsCursor,
  { output, errors }: { readonly output: Location; readonly errors: Location },
  signal: AbortSignal,
): Promise<FileOffsets> {
  if (files?.seal === seal) return files;
  if (last === null) return { seal, outputBytes: 0, errorsBytes: 0 };
  const [outputBytes, errorsBytes] = await Promise.all([seek(storage, output, last, signal), seek(storage, errors, last, signal)]);
  return { seal, outputBytes, errorsBytes };
}

async function firstOf(a: FileLines, b: FileLines): Promise<FileLines | null> {
  const [left, right] = [await a.peek(), await b.peek()];
  if (left === null || right === null) return left === null ? (right === null ? null : b) : a;
  return comparePositions(left.position, right.position) < 0 ? a : b;
}

interface FileLine {
  readonly value: ResultLine;
  readonly position: LinePosition;
  readonly startBytes: number;
  readonly endBytes: number;
}

/** One file's lines from an offset on, with a look at the next one. */
class FileLines {
  readonly #lines: AsyncGenerator<FileLine> | null;
  #held: FileLine | null = null;
  /** Where the next line that wasn't taken begins. */
  offsetBytes: number;

  constructor(storage: Storage, location: Location | null, offsetBytes: number, signal: AbortSignal) {
    this.#lines = location === null ? null : readFile(storage, location, offsetBytes, signal);
    this.offsetBytes = offsetBytes;
  }

  async peek(): Promise<FileLine | null> {
    if (this.#held !== null || this.#lines === null) return this.#held;
    const next = await this.#lines.next();
    this.#held = next.done === true ? null : next.value;
    return this.#held;
  }

  /** The line that `peek` showed. */
  take(): FileLine {
    const line = this.#held;
    if (line === null) throw new Error("no line was looked at");
    this.#held = null;
    this.offsetBytes = line.endBytes;
    return line;
  }

  async close(): Promise<void> {
    await this.#lines?.return(undefined);
  }
}

const lineBytes = 16 * 1024 * 1024;

async function* readFile(storage: Storage, location: Location, offsetBytes: number, signal: AbortSignal): AsyncGenerator<FileLine> {
  for await (const line of readLines(storage.stream(location, { signal, offsetBytes }), { maxLineBytes: lineBytes })) {
    const value = line.kind === "line" ? parseLine(line.text) : null;
    if (value === null) {
      // Our files are whole: a reading that doesn't begin with a line began inside of one, by a cursor that nobody was given.
      if (offsetBytes > 0 && line.number === 1) throw invalidCursor();
      throw new CodedError("internal_error", `${location.key}: line ${line.number} isn't ours`);
    }
    const startBytes = offsetBytes + line.offsetBytes;
    yield { value, position: positionOf(value, location), startBytes, endBytes: startBytes + line.sizeBytes + 1 };
  }
}

function parseLine(text: string): ResultLine | null {
  try {
    return resultLine.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

function positionOf(value: ResultLine, location: Location): LinePosition {
  const position = linePosition(value.id);
  if (position === null) throw new CodedError("internal_error", `${location.key}: a line has the foreign id ${value.id}`);
  return position;
}

/** Where the first line behind `last` begins: halves the file, a line being where its newline says. A few dozen small reads, whatever its size. */
async function seek(storage: Storage, location: Location, last: LinePosition, signal: AbortSignal): Promise<number> {
  const description = await storage.describe(location, { signal });
  if (description === null) throw new CodedError("internal_error", `${location.key} isn't there`);
  // Every line that begins before `low` is given; the first line that begins at or behind `high` isn't, or there is none.
  let low = 0;
  let high = description.sizeBytes;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const line = await firstLineFrom(storage, location, middle, signal);
    if (line === null || comparePositions(line.position, last) > 0) high = middle;
    else low = line.endBytes;
  }
  return low;
}

/** The first line that begins at or behind this byte; null behind the last. */
async function firstLineFrom(storage: Storage, location: Location, offsetBytes: number, signal: AbortSignal): Promise<FileLine | null> {
  if (offsetBytes === 0) return firstIn(readFile(storage, location, 0, signal));
  // The byte before tells whether a line begins just here.
  const from = offsetBytes - 1;
  for await (const line of readLines(storage.stream(location, { signal, offsetBytes: from }), { maxLineBytes: lineBytes })) {
    return firstIn(readFile(storage, location, from + line.offsetBytes + line.sizeBytes + 1, signal));
  }
  return null;
}

async function firstIn<Value>(values: AsyncGenerator<Value>): Promise<Value | null> {
  const first = await values.next();
  await values.return(undefined);
  return first.done === true ? null : first.value;
}
