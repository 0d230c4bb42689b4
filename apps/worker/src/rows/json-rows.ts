/** JSON lines as rows. Owns what of a line can't even be looked at: too long, not UTF-8, no JSON object. */
import { limits, type ErrorCode } from "@flamboyance/contracts";
import { readLinePieces, type Line } from "@flamboyance/storage";
import type { Row } from "./row.ts";

/** Every line but blank ones, which are no items: many tools end a file with some. */
export async function* jsonRows(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<readonly Row[]> {
  for await (const lines of readLinePieces(pieces, { maxLineBytes: limits.manifestLineBytes })) {
    yield lines.map(rowOf).filter((row) => row !== null);
  }
}

function rowOf(line: Line): Row | null {
  if (line.kind === "tooLong") return refused(line.number, "line_too_long", `the line is longer than ${limits.manifestLineBytes} bytes`);
  if (line.kind === "notUtf8") return refused(line.number, "invalid_json_line", "the line isn't UTF-8");
  const fields = parseObject(line.text);
  if (fields !== null) return { kind: "fields", line: line.number, fields };
  return line.text.trim() === "" ? null : refused(line.number, "invalid_json_line", "the line isn't a JSON object");
}

const refused = (line: number, code: ErrorCode, message: string): Row => ({ kind: "refused", line, code, message });

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
