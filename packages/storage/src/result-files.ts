/**
 * The lines of final files (output.jsonl, errors.jsonl) of one batch, or of a batch and its retries: merged into the manifest's order by the places that their ids
 * carry; of an item that has several lines the newest batch's counts. Owns the merge. Refuses everything but final files: parts may have been swept.
 */
import { CodedError, comparePositions, limits, linePosition, resultLine, type LinePosition, type ResultLine } from "@flamboyance/contracts";
import { readLines } from "./json-lines.ts";
import type { Location } from "./location.ts";
import type { Storage } from "./storage.ts";

export interface ResultFileLine {
  readonly value: ResultLine;
  readonly position: LinePosition;
  readonly startBytes: number;
  readonly endBytes: number;
}

/** One file's lines from an offset on, with a look at the next one. An offset where no line begins shows as `storage_invalid_response`. */
export class ResultFile {
  readonly #lines: AsyncGenerator<ResultFileLine> | null;
  #held: ResultFileLine | null = null;
  #offsetBytes: number;

  /** Without a location: a file that is left out, as if it were empty. */
  constructor(storage: Storage, location: Location | null, { offsetBytes, signal }: { offsetBytes: number; signal: AbortSignal }) {
    this.#lines = location === null ? null : readResultFile(storage, location, { offsetBytes, signal });
    this.#offsetBytes = offsetBytes;
  }

  /** Where the next line that wasn't taken begins. */
  get offsetBytes(): number {
    return this.#offsetBytes;
  }

  async peek(): Promise<ResultFileLine | null> {
    if (this.#held !== null || this.#lines === null) return this.#held;
    const next = await this.#lines.next();
    this.#held = next.done === true ? null : next.value;
    return this.#held;
  }

  /** The line that `peek` showed. */
  take(): ResultFileLine {
    const line = this.#held;
    if (line === null) throw new Error("no line was looked at");
    this.#held = null;
    this.#offsetBytes = line.endBytes;
    return line;
  }

  async close(): Promise<void> {
    await this.#lines?.return(undefined);
  }
}

/** Takes the next line of all files together, and which file it is of; those of the same item in files before it are passed over. Files stand from the oldest batch to the newest. */
export async function takeNext(files: readonly ResultFile[]): Promise<{ readonly line: ResultFileLine; readonly file: number } | null> {
  const heads = await Promise.all(files.map((file) => file.peek()));
  let newest: number | null = null;
  for (const [file, head] of heads.entries()) {
    const best = newest === null ? null : (heads[newest] ?? null);
    if (head !== null && (best === null || comparePositions(head.position, best.position) <= 0)) newest = file;
  }
  const chosen = newest === null ? null : (heads[newest] ?? null);
  if (newest === null || chosen === null) return null;
  for (const [file, head] of heads.entries())
    if (head !== null && comparePositions(head.position, chosen.position) === 0) files[file]?.take();
  return { line: chosen, file: newest };
}

/** A final file's lines from this byte on, which must be a line's first. */
export async function* readResultFile(
  storage: Storage,
  location: Location,
  { offsetBytes = 0, signal }: { readonly offsetBytes?: number; readonly signal: AbortSignal },
): AsyncGenerator<ResultFileLine> {
  for await (const line of readLines(storage.stream(location, { signal, offsetBytes }), { maxLineBytes: limits.storedLineBytes })) {
    const value = line.kind === "line" ? parseLine(line.text) : null;
    const position = value === null ? null : linePosition(value.id);
    if (value === null || position === null) {
      // Our files are whole: a reading that doesn't begin with a line began inside of one.
      const inside = offsetBytes > 0 && line.number === 1;
      throw new CodedError(inside ? "storage_invalid_response" : "internal_error", `${location.key}: line ${line.number} isn't ours`);
    }
    const startBytes = offsetBytes + line.offsetBytes;
    yield { value, position, startBytes, endBytes: startBytes + line.sizeBytes + 1 };
  }
}

/** The first line that begins at or behind this byte; null behind the last. */
export async function firstResultLineFrom(
  storage: Storage,
  location: Location,
  offsetBytes: number,
  signal: AbortSignal,
): Promise<ResultFileLine | null> {
  if (offsetBytes === 0) return firstIn(readResultFile(storage, location, { signal }));
  // The byte before tells whether a line begins just here.
  const from = offsetBytes - 1;
  for await (const line of readLines(storage.stream(location, { signal, offsetBytes: from }), { maxLineBytes: limits.storedLineBytes })) {
    return firstIn(readResultFile(storage, location, { offsetBytes: from + line.offsetBytes + line.sizeBytes + 1, signal }));
  }
  return null;
}

function parseLine(text: string): ResultLine | null {
  try {
    return resultLine.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

async function firstIn<Value>(values: AsyncGenerator<Value>): Promise<Value | null> {
  const first = await values.next();
  await values.return(undefined);
  return first.done === true ? null : first.value;
}
