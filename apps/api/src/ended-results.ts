/**
 * A page of results of ended batches, one alone or a batch with its retries: the output.jsonl and errors.jsonl of each seal, merged in the manifest's order, the newest
 * line of each item. Owns the way into the middle of such files without an index. Refuses everything but the final files: parts may have been swept.
 */
import { CodedError, comparePositions, isCoded, lineSucceeded, type End, type LinePosition, type ResultLine } from "@flamboyance/contracts";
import { firstResultLineFrom, ResultFile, takeNext, type Location, type Storage } from "@flamboyance/storage";
import { invalidCursor, type FileOffsets, type ResultsCursor } from "./results-cursor.ts";
import { scannedLines, type Page, type PageRequest } from "./running-results.ts";

export interface EndedFiles {
  readonly seal: string;
  /** Null where the batch ended without a plan: there are no lines. */
  readonly files: End["files"];
}

/** `ended`: from the oldest batch to the newest. */
export async function endedPage(
  storage: Storage,
  { bucket, ended }: { readonly bucket: string; readonly ended: readonly EndedFiles[] },
  { cursor, limit, only }: PageRequest,
  signal: AbortSignal,
): Promise<Page> {
  const starts = await Promise.all(ended.map((batch) => openFiles(storage, bucket, batch, cursor, signal)));
  const files = starts.flatMap(({ output, errors, offsets }, batch) => [
    // A failed line of an older batch counts only where no newer one has a line of the item.
    new ResultFile(storage, only === "failed" && batch === 0 ? null : output, { offsetBytes: offsets.outputBytes, signal }),
    // What succeeded isn't run again.
    new ResultFile(storage, only === "completed" ? null : errors, { offsetBytes: offsets.errorsBytes, signal }),
  ]);
  const lines: ResultLine[] = [];
  let last = cursor.last;
  try {
    for (let scanned = 0; lines.length < limit && scanned < scannedLines; scanned++) {
      const next = await takeNext(files);
      if (next === null) break;
      const { value, position } = next.line;
      if (only === null || (only === "completed") === lineSucceeded(value)) lines.push(value);
      last = position;
    }
    const more = (await Promise.all(files.map((file) => file.peek()))).some((line) => line !== null);
    const offsets = ended.map(({ seal }, batch) => ({
      seal,
      outputBytes: files[2 * batch]?.offsetBytes ?? 0,
      errorsBytes: files[2 * batch + 1]?.offsetBytes ?? 0,
    }));
    // Offsets of a file that `only` leaves out would be wrong for another `only`: the places decide then. So they do where a cursor would grow too long.
    const known = only === null && offsets.length <= mostOffsets ? offsets : null;
    return { lines, next: { ...cursor, last, place: null, files: known }, more };
  } catch (error) {
    if (isCoded(error, "storage_invalid_response") && cursor.files !== null) throw invalidCursor();
    throw error;
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

/** Batches whose offsets a cursor holds. */
const mostOffsets = 8;

async function openFiles(
  storage: Storage,
  bucket: string,
  { seal, files }: EndedFiles,
  cursor: ResultsCursor,
  signal: AbortSignal,
): Promise<{ readonly output: Location | null; readonly errors: Location | null; readonly offsets: FileOffsets }> {
  if (files === null) return { output: null, errors: null, offsets: { seal, outputBytes: 0, errorsBytes: 0 } };
  const output = { bucket, key: files.output.key };
  const errors = { bucket, key: files.errors.key };
  return { output, errors, offsets: await offsetsOf(storage, seal, cursor, { output, errors }, signal) };
}

async function offsetsOf(
  storage: Storage,
  seal: string,
  { last, files }: ResultsCursor,
  { output, errors }: { readonly output: Location; readonly errors: Location },
  signal: AbortSignal,
): Promise<FileOffsets> {
  const known = files?.find((offsets) => offsets.seal === seal);
  if (known !== undefined) return known;
  if (last === null) return { seal, outputBytes: 0, errorsBytes: 0 };
  const [outputBytes, errorsBytes] = await Promise.all([seek(storage, output, last, signal), seek(storage, errors, last, signal)]);
  return { seal, outputBytes, errorsBytes };
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
    const line = await firstResultLineFrom(storage, location, middle, signal);
    if (line === null || comparePositions(line.position, last) > 0) high = middle;
    else low = line.endBytes;
  }
  return low;
}
