import {
  failedLine,
  neverRanLine,
  refusedResultLine,
  type Item,
  type PartChoice,
  type RefusedLine,
  type ResultLine,
} from "@flamboyance/contracts";
import { describe, expect, it } from "vitest";
import { readBatchLines, type BatchLine, type BatchLinesRequest } from "./batch-lines.ts";
import { jsonLine } from "./json-lines.ts";
import { batchKeys } from "./keys.ts";
import { encodePlanIndex, type PlannedChunk } from "./plan-index.ts";
import type { Storage } from "./storage.ts";

const id = "batch_01hzzzzzzzzzzzzzzzzzzzzzzz";
const plan = "plan";
const bucket = "service";
const keys = batchKeys(id);
const signal = new AbortController().signal;

/** S3 as far as lines are read from it: objects in memory. */
function inMemory(objects: ReadonlyMap<string, Buffer>): Storage {
  const get = (key: string): Buffer => {
    const bytes = objects.get(key);
    if (bytes === undefined) throw new Error(`no object ${key}`);
    return bytes;
  };
  const used: Pick<Storage, "read" | "readRange" | "stream"> = {
    read: ({ key }) => Promise.resolve({ bytes: get(key), etag: "", contentType: null }),
    readRange: ({ key }, { offsetBytes, lengthBytes }) => Promise.resolve(get(key).subarray(offsetBytes, offsetBytes + lengthBytes)),
    async *stream({ key }) {
      yield get(key);
    },
  };
  return used as Storage;
}

interface World {
  readonly storage: Storage;
  readonly request: BatchLinesRequest;
  readonly expected: readonly ResultLine[];
}

/** A batch of some items in chunks; `refused[i]` manifest lines were refused just before item i (the last number: behind the last item); some chunks have no part. */
function world(options: { items: number; perChunk: number; refused?: readonly number[]; missing?: readonly number[] }): World {
  const { items: count, perChunk, refused = [], missing = [] } = options;
  const objects = new Map<string, Buffer>();
  const items = Array.from({ length: count }, (_, item): Item => ({
    custom_id: `item-${item}`,
    line: item,
    image: "s3://images/1",
    question: null,
  }));
  const chunks: PlannedChunk[] = [];
  const parts: (PartChoice | null)[] = [];
  const lineOfItem = (item: number, chunk: number): ResultLine => {
    const identity = { batchId: id, item, customId: `item-${item}` };
    return missing.includes(chunk) ? neverRanLine(identity, "batch_cancelled") : failedLine(identity, "image_not_found", "gone");
  };
  let offsetBytes = 0;
  for (let firstItem = 0; firstItem < count; firstItem += perChunk) {
    const chunk = chunks.length;
    const own = items.slice(firstItem, firstItem + perChunk);
    const sizeBytes = Buffer.byteLength(own.map(jsonLine).join(""));
    chunks.push({ offsetBytes, sizeBytes, firstItem, items: own.length });
    offsetBytes += sizeBytes;
    const part = { attempt: `attempt-${chunk}`, cut: chunk % 2 === 1 };
    parts.push(missing.includes(chunk) ? null : part);
    const text = own.map((_, index) => jsonLine(lineOfItem(firstItem + index, chunk))).join("");
    objects.set(keys.part(plan, chunk, part.attempt, part.cut), Buffer.from(text));
  }
  const refusals: RefusedLine[] = refused.flatMap((lines, before_item) =>
    Array.from({ length: lines }, (_, line) => ({
      code: "invalid_json_line",
      message: "no",
      param: null,
      line: before_item * 10 + line,
      custom_id: null,
      before_item,
    })),
  );
  objects.set(keys.plan(plan).items, Buffer.from(items.map(jsonLine).join("")));
  objects.set(keys.plan(plan).index, Buffer.from(encodePlanIndex(chunks)));
  objects.set(keys.plan(plan).errors, Buffer.from(refusals.map(jsonLine).join("")));
  const expected = Array.from({ length: count + 1 }, (_, item) => [
    ...refusals.filter(({ before_item }) => before_item === item).map((line) => refusedResultLine(id, line)),
    ...(item < count ? [lineOfItem(item, Math.floor(item / perChunk))] : []),
  ]).flat();
  const request = {
    bucket,
    id,
    plan,
    chunks: chunks.length,
    refused: refusals.length,
    parts,
    neverRan: "batch_cancelled",
    signal,
  } as const;
  return { storage: inMemory(objects), request, expected };
}

async function read({ storage, request }: World, further: Partial<BatchLinesRequest> = {}): Promise<BatchLine[]> {
  const lines: BatchLine[] = [];
  for await (const line of readBatchLines(storage, { ...request, ...further })) lines.push(line);
  return lines;
}

const worlds: [string, Parameters<typeof world>[0]][] = [
  ["plain items", { items: 10, perChunk: 4 }],
  ["refused lines at every kind of place", { items: 10, perChunk: 4, refused: [2, 0, 1, 0, 3, 0, 0, 0, 1, 1, 2] }],
  ["refused lines alone", { items: 0, perChunk: 4, refused: [5] }],
  ["chunks without a part", { items: 22, perChunk: 4, refused: [0, 1, 0, 0, 2], missing: [0, 2, 3, 5] }],
  ["more chunks than are read ahead", { items: 100, perChunk: 3, refused: [1, 1, 1, 1] }],
  ["no chunk with a part", { items: 9, perChunk: 4, missing: [0, 1, 2], refused: [1] }],
];

describe.each(worlds)("%s", (_name, options) => {
  it("come once each, in the manifest's order, with the bytes that they have in the files", async () => {
    const batch = world(options);
    const lines = await read(batch);
    expect(lines.map(({ value }) => value)).toEqual(batch.expected);
    expect(lines.map(({ text }) => text)).toEqual(batch.expected.map(jsonLine));
  });

  it("go on from behind any line", async () => {
    const batch = world(options);
    const all = await read(batch);
    for (const [index, { chunk, line }] of all.entries()) {
      const parts = [...(batch.request.parts as Iterable<PartChoice | null>)].slice(chunk);
      const rest = await read(batch, { parts, from: { chunk, line: line + 1 } });
      expect(rest).toEqual(all.slice(index + 1));
    }
  });
});

it("ends with the parts that it was given, without the refused lines behind them", async () => {
  const batch = world({ items: 12, perChunk: 4, refused: [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1] });
  const first = [...(batch.request.parts as Iterable<PartChoice | null>)].slice(0, 2);
  const lines = await read(batch, { parts: first });
  expect(lines.map(({ value }) => value)).toEqual(batch.expected.slice(0, 10));
});

it("refuses a chunk without a part where no line may stand in for it", async () => {
  const batch = world({ items: 8, perChunk: 4, missing: [1] });
  const { neverRan: _, ...request } = batch.request;
  await expect(read({ ...batch, request })).rejects.toMatchObject({ code: "internal_error" });
});
