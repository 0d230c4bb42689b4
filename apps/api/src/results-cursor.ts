/**
 * The cursor of a batch's results: opaque to callers, and good for the running and the ended batch alike.
 * It names the last line that was given, by its place in manifest order, and where to go on in the files. Refuses a foreign or damaged one.
 */
import { createHash } from "node:crypto";
import { CodedError, type LinePosition } from "@flamboyance/contracts";
import type { LinePlace } from "@flamboyance/storage";
import { z } from "zod";

const cursorSchema = z.object({
  /** The batch's id without `batch_`, so that another batch's cursor is noticed; of a lineage its first batch's. */
  b: z.string(),
  /** Of a lineage: how many of its batches are read, as many as had ended when the reading began. */
  n: z.int().min(1).optional(),
  /** And which: a hash of their ids, as their number may be the same after a delete and another retry. */
  m: z.string().optional(),
  /** The last given line's item, and the manifest line where it was a refused one. */
  i: z.int().min(0).optional(),
  l: z.int().min(0).optional(),
  /** While the batch runs: chunk and line there. */
  p: z.tuple([z.int().min(0), z.int().min(0)]).optional(),
  /** Once it has ended: the seal, and bytes of its output.jsonl and errors.jsonl that were read; of a lineage each batch's. */
  f: z.array(z.tuple([z.string(), z.int().min(0), z.int().min(0)])).optional(),
});

export interface ResultsCursor {
  readonly batchId: string;
  /** Of a lineage: which of its batches are read; null where a batch is read alone. */
  readonly lineage: LineageRead | null;
  /** Lines up to and including this one were given; null: none yet. */
  readonly last: LinePosition | null;
  /** Where to go on in the parts. */
  readonly place: LinePlace | null;
  /** Where to go on in the final files of these seals. */
  readonly files: readonly FileOffsets[] | null;
}

/** The first so many batches of a lineage, those that had ended when the reading began. */
export interface LineageRead {
  readonly batches: number;
  /** Of their ids. */
  readonly hash: string;
}

export interface FileOffsets {
  readonly seal: string;
  readonly outputBytes: number;
  readonly errorsBytes: number;
}

export function firstCursor(batchId: string, lineage: LineageRead | null = null): ResultsCursor {
  return { batchId, lineage, last: null, place: null, files: null };
}

/** `ids`: from the oldest to the newest. */
export function lineageOf(ids: readonly string[]): LineageRead {
  return { batches: ids.length, hash: createHash("sha256").update(JSON.stringify(ids)).digest("base64url").slice(0, 16) };
}

export function encodeCursor({ batchId, lineage, last, place, files }: ResultsCursor): string {
  const value: z.infer<typeof cursorSchema> = {
    b: batchId.replace(/^batch_/, ""),
    ...(lineage === null ? {} : { n: lineage.batches, m: lineage.hash }),
    ...(last === null ? {} : { i: last.item }),
    ...(last === null || last.refusedLine === null ? {} : { l: last.refusedLine }),
    ...(place === null ? {} : { p: [place.chunk, place.line] }),
    ...(files === null ? {} : { f: files.map(({ seal, outputBytes, errorsBytes }) => [seal, outputBytes, errorsBytes]) }),
  };
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** Throws `invalid_cursor` where the text isn't a cursor of this batch, read alone or as the first of its lineage. */
export function decodeCursor(text: string, batchId: string, read: "alone" | "lineage" = "alone"): ResultsCursor {
  const value = parse(text);
  if (value === null || `batch_${value.b}` !== batchId || (value.n === undefined) !== (read === "alone")) throw invalidCursor();
  const { n, m, i, l, p, f } = value;
  return {
    batchId,
    lineage: n === undefined ? null : { batches: n, hash: m ?? "" },
    last: i === undefined ? null : { item: i, refusedLine: l ?? null },
    place: p === undefined ? null : { chunk: p[0], line: p[1] },
    files: f === undefined ? null : f.map(([seal, outputBytes, errorsBytes]) => ({ seal, outputBytes, errorsBytes })),
  };
}

/** Also for what shows only in the files: a place where no line begins. */
export function invalidCursor(why = "not a cursor of this batch's results"): CodedError {
  return new CodedError("invalid_cursor", `after: ${why}.`, { param: "after" });
}

function parse(text: string): z.infer<typeof cursorSchema> | null {
  try {
    return cursorSchema.safeParse(JSON.parse(Buffer.from(text, "base64url").toString("utf8"))).data ?? null;
  } catch {
    return null;
  }
}
