/**
 * The cursor of a batch's results: opaque to callers, and good for the running and the ended batch alike.
 * It names the last line that was given, by its place in manifest order, and where to go on in the files. Refuses a foreign or damaged one.
 */
import { CodedError, type LinePosition } from "@flamboyance/contracts";
import type { LinePlace } from "@flamboyance/storage";
import { z } from "zod";

const cursorSchema = z.object({
  /** The batch's id without `batch_`, so that another batch's cursor is noticed. */
  b: z.string(),
  /** The last given line's item, and the manifest line where it was a refused one. */
  i: z.int().min(0).optional(),
  l: z.int().min(0).optional(),
  /** While the batch runs: chunk and line there. */
  p: z.tuple([z.int().min(0), z.int().min(0)]).optional(),
  /** Once it has ended: the seal, and bytes of its output.jsonl and errors.jsonl that were read. */
  e: z.tuple([z.string(), z.int().min(0), z.int().min(0)]).optional(),
});

export interface ResultsCursor {
  readonly batchId: string;
  /** Lines up to and including this one were given; null: none yet. */
  readonly last: LinePosition | null;
  /** Where to go on in the parts. */
  readonly place: LinePlace | null;
  /** Where to go on in the final files of this seal. */
  readonly files: FileOffsets | null;
}

export interface FileOffsets {
  readonly seal: string;
  readonly outputBytes: number;
  readonly errorsBytes: number;
}

export function firstCursor(batchId: string): ResultsCursor {
  return { batchId, last: null, place: null, files: null };
}

export function encodeCursor({ batchId, last, place, files }: ResultsCursor): string {
  const value: z.infer<typeof cursorSchema> = {
    b: batchId.replace(/^batch_/, ""),
    ...(last === null ? {} : { i: last.item }),
    ...(last === null || last.refusedLine === null ? {} : { l: last.refusedLine }),
    ...(place === null ? {} : { p: [place.chunk, place.line] }),
    ...(files === null ? {} : { e: [files.seal, files.outputBytes, files.errorsBytes] }),
  };
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** Throws `invalid_cursor` where the text isn't a cursor of this batch. */
export function decodeCursor(text: string, batchId: string): ResultsCursor {
  const value = parse(text);
  if (value === null || `batch_${value.b}` !== batchId) throw invalidCursor();
  const { i, l, p, e } = value;
  return {
    batchId,
    last: i === undefined ? null : { item: i, refusedLine: l ?? null },
    place: p === undefined ? null : { chunk: p[0], line: p[1] },
    files: e === undefined ? null : { seal: e[0], outputBytes: e[1], errorsBytes: e[2] },
  };
}

/** Also for what shows only in the files: a place where no line begins. */
export function invalidCursor(): CodedError {
  return new CodedError("invalid_cursor", "after: not a cursor of this batch's results.", { param: "after" });
}

function parse(text: string): z.infer<typeof cursorSchema> | null {
  try {
    return cursorSchema.safeParse(JSON.parse(Buffer.from(text, "base64url").toString("utf8"))).data ?? null;
  } catch {
    return null;
  }
}
