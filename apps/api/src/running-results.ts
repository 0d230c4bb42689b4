/**
 * A page of results while the batch runs: from the parts of the chunks that a frontier object in S3 names, up to the first chunk it doesn't.
 * What is shown here is the line of the end. Refuses anything past that frontier, though it may be recorded already.
 */
import { linePosition, lineSucceeded, type PartChoice, type ResultLine } from "@flamboyance/contracts";
import type { BatchRecord, Queue } from "@flamboyance/queue";
import { readBatchLines, type Storage } from "@flamboyance/storage";
import type { ResultsCursor } from "./results-cursor.ts";

export interface PageRequest {
  readonly cursor: ResultsCursor;
  readonly limit: number;
  /** Only these lines. */
  readonly only: "completed" | "failed" | null;
}

export interface Page {
  readonly lines: readonly ResultLine[];
  readonly next: ResultsCursor;
  /** True where reading stopped before the last line that stands ready. */
  readonly more: boolean;
}

/** Lines that one page looks at: with `only`, most may not be wanted. */
export const scannedLines = 20_000;

export async function runningPage(
  { queue, storage, bucket }: { readonly queue: Queue; readonly storage: Storage; readonly bucket: string },
  record: BatchRecord,
  { cursor, limit, only }: PageRequest,
  signal: AbortSignal,
): Promise<Page> {
  const from = cursor.place ?? { chunk: 0, line: 0 };
  if (record.plan === null || record.confirmed <= from.chunk) return { lines: [], next: cursor, more: false };
  const { id, plan, chunks, refused } = record;
  const parts = confirmedParts(queue, id, from.chunk, record.confirmed);
  const lines: ResultLine[] = [];
  let next = cursor;
  let scanned = 0;
  for await (const { chunk, line, value } of readBatchLines(storage, { bucket, id, plan, chunks, refused, parts, from, signal })) {
    if (lines.length === limit || scanned === scannedLines) return { lines, next, more: true };
    scanned += 1;
    if (only === null || (only === "completed") === lineSucceeded(value)) lines.push(value);
    next = { ...cursor, last: linePosition(value.id), place: { chunk, line: line + 1 } };
  }
  return { lines, next, more: false };
}

const pageParts = 256;

async function* confirmedParts(queue: Queue, id: string, first: number, end: number): AsyncGenerator<PartChoice | null> {
  for (let from = first; from < end; from += pageParts) {
    const parts = await queue.parts({ id, from, count: Math.min(pageParts, end - from) });
    // Settled meanwhile: the next request reads the final files.
    if (parts.length === 0) return;
    yield* parts;
  }
}
