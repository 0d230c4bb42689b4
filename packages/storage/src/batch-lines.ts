/**
 * A batch's result lines in manifest order: its chunks' parts, and between their items the manifest lines that plan refused.
 * Owns the order and the merge, for results while a batch runs and for its end alike. Refuses to choose parts: which count is the queue's word.
 */
import {
  CodedError,
  item,
  itemNumber,
  linePosition,
  neverRanLine,
  refusedLine,
  refusedResultLine,
  resultLine,
  type PartChoice,
  type RefusedLine,
  type ResultLine,
} from "@flamboyance/contracts";
import { jsonLine, readLines } from "./json-lines.ts";
import { batchKeys } from "./keys.ts";
import { decodePlanIndex, planIndexRange, planIndexRecordBytes, type PlannedChunk } from "./plan-index.ts";
import type { Storage } from "./storage.ts";

export interface BatchLinesRequest {
  /** The service's bucket. */
  readonly bucket: string;
  readonly id: string;
  readonly plan: string;
  /** The plan's number of chunks, and of refused manifest lines (none: they aren't looked for). */
  readonly chunks: number;
  readonly refused: number;
  /** The part of each chunk from `from.chunk` on, in chunk order. Reading ends where this ends, though the plan has more chunks. */
  readonly parts: AsyncIterable<PartChoice | null> | Iterable<PartChoice | null>;
  /** Where to go on: a `BatchLine`'s place, plus one line. Default: the beginning. */
  readonly from?: LinePlace;
  /** The code of the lines that stand in for a chunk without a part; where it isn't given, such a chunk is an error. */
  readonly neverRan?: "batch_cancelled" | "batch_expired" | "batch_failed";
  readonly signal: AbortSignal;
}

/** A line's place in its batch: its chunk, and its number there from 0. Refused lines count with the chunk of the item that they stand before. */
export interface LinePlace {
  readonly chunk: number;
  readonly line: number;
}

export interface BatchLine extends LinePlace {
  /** The line's bytes as they stand in output.jsonl or errors.jsonl, end included. */
  readonly text: string;
  readonly value: ResultLine;
}

/** Every line once, in manifest order. Holds a few parts at most. */
export async function* readBatchLines(storage: Storage, request: BatchLinesRequest): AsyncGenerator<BatchLine> {
  const firstChunk = request.from?.chunk ?? 0;
  const skipped = request.from?.line ?? 0;
  const refusals = new Refusals(storage, request);
  try {
    let chunk = firstChunk;
    for await (const lines of inOrder(partLines(storage, request, firstChunk), partsAhead)) {
      let line = 0;
      const place = (value: ResultLine, text: string): BatchLine => ({ chunk, line: line++, text, value });
      const wanted = (found: BatchLine) => chunk > firstChunk || found.line >= skipped;
      for (const [index, value] of lines.entries()) {
        const position = linePosition(value.id);
        if (position === null)
          throw new CodedError("internal_error", `${request.id}: chunk ${chunk} holds a line with the foreign id ${value.id}`);
        // Those before the first chunk's first item belong to chunks that were read before.
        if (index === 0 && chunk === firstChunk && chunk > 0) await refusals.skipBefore(position.item);
        for await (const refused of refusals.upTo(position.item)) {
          const found = place(refused, jsonLine(refused));
          if (wanted(found)) yield found;
        }
        const found = place(value, jsonLine(value));
        if (wanted(found)) yield found;
      }
      if (chunk === request.chunks - 1) {
        for await (const refused of refusals.upTo(Infinity)) {
          const found = place(refused, jsonLine(refused));
          if (wanted(found)) yield found;
        }
      }
      chunk += 1;
    }
    if (request.chunks > 0) return;
    let line = 0;
    for await (const refused of refusals.upTo(Infinity)) {
      const found = { chunk: 0, line: line++, text: jsonLine(refused), value: refused };
      if (found.line >= skipped) yield found;
    }
  } finally {
    await refusals.close();
  }
}

/** Parts that are read ahead of the one whose lines are given. */
const partsAhead = 8;
const partBytes = 256 * 1024 * 1024;
const indexBlockChunks = 1_024;

/** The plan's refused lines, read along with the items. */
class Refusals {
  readonly #id: string;
  readonly #lines: AsyncGenerator<RefusedLine>;
  #next: RefusedLine | null = null;
  #ended: boolean;

  constructor(storage: Storage, { bucket, id, plan, refused, signal }: BatchLinesRequest) {
    this.#id = id;
    this.#ended = refused === 0;
    this.#lines = readRecords(storage.stream({ bucket, key: batchKeys(id).plan(plan).errors }, { signal }), (value) =>
      refusedLine.parse(value),
    );
  }

  async skipBefore(number: number): Promise<void> {
    for (let next = await this.#peek(); next !== null && next.before_item < number; next = await this.#peek()) this.#next = null;
  }

  /** Those that stand before this item, or at it. */
  async *upTo(number: number): AsyncGenerator<ResultLine> {
    for (let next = await this.#peek(); next !== null && next.before_item <= number; next = await this.#peek()) {
      this.#next = null;
      yield refusedResultLine(this.#id, next);
    }
  }

  async close(): Promise<void> {
    await this.#lines.return(undefined);
  }

  async #peek(): Promise<RefusedLine | null> {
    if (this.#next === null && !this.#ended) {
      const read = await this.#lines.next();
      if (read.done === true) this.#ended = true;
      else this.#next = read.value;
    }
    return this.#next;
  }
}

/** One promise per chunk: its lines, from its part, or standing in for it. */
async function* partLines(storage: Storage, request: BatchLinesRequest, firstChunk: number): AsyncGenerator<() => Promise<ResultLine[]>> {
  const { bucket, id, plan, signal } = request;
  const keys = batchKeys(id);
  let chunk = firstChunk;
  let block: { readonly first: number; readonly chunks: readonly PlannedChunk[] } | null = null;
  for await (const part of request.parts) {
    const number = chunk++;
    if (part !== null) {
      const key = keys.part(plan, number, part.attempt, part.cut);
      yield async () => {
        const { bytes } = await storage.read({ bucket, key }, { signal, maxBytes: partBytes });
        return records(bytes, (value) => resultLine.parse(value));
      };
      continue;
    }
    const code = request.neverRan;
    if (code === undefined) throw new CodedError("internal_error", `${id}: chunk ${number} has no part`);
    if (block === null || number >= block.first + block.chunks.length) block = await readIndex(storage, request, number);
    const planned = block.chunks[number - block.first];
    if (planned === undefined) throw new CodedError("internal_error", `${id}: the plan's index has no chunk ${number}`);
    yield async () => {
      const range = { offsetBytes: planned.offsetBytes, lengthBytes: planned.sizeBytes, signal };
      const bytes = await storage.readRange({ bucket, key: keys.plan(plan).items }, range);
      const items = await records(bytes, (value) => item.parse(value));
      return items.map((each, index) =>
        neverRanLine({ batchId: id, item: itemNumber(each, planned.firstItem + index), customId: each.custom_id }, code),
      );
    };
  }
}

async function readIndex(storage: Storage, { bucket, id, plan, chunks, signal }: BatchLinesRequest, first: number) {
  const count = Math.min(indexBlockChunks, chunks - first);
  const range = { offsetBytes: planIndexRange(first).offsetBytes, lengthBytes: count * planIndexRecordBytes, signal };
  return { first, chunks: decodePlanIndex(await storage.readRange({ bucket, key: batchKeys(id).plan(plan).index }, range)) };
}

/** Runs up to `ahead` tasks at once and gives their results in order. */
async function* inOrder<Result>(tasks: AsyncIterable<() => Promise<Result>>, ahead: number): AsyncGenerator<Result> {
  const running: Promise<Result>[] = [];
  const start = (task: () => Promise<Result>) => {
    const result = task();
    // It is awaited in its turn; a failure meanwhile isn't unhandled.
    result.catch(() => {});
    running.push(result);
  };
  for await (const task of tasks) {
    start(task);
    const oldest = running.length >= ahead ? running.shift() : undefined;
    if (oldest !== undefined) yield await oldest;
  }
  for (const result of running) yield await result;
}

async function* readRecords<Value>(pieces: AsyncIterable<Uint8Array>, parse: (value: unknown) => Value): AsyncGenerator<Value> {
  for await (const line of readLines(pieces, { maxLineBytes: partBytes })) {
    if (line.kind !== "line") throw new CodedError("storage_invalid_response", `line ${line.number} of our own file isn't UTF-8`);
    yield parse(JSON.parse(line.text));
  }
}

async function records<Value>(bytes: Uint8Array, parse: (value: unknown) => Value): Promise<Value[]> {
  const all: Value[] = [];
  for await (const value of readRecords(only(bytes), parse)) all.push(value);
  return all;
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
