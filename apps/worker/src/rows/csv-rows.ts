/**
 * A CSV or TSV (RFC 4180, either line end) as rows. Owns csv-parse, and what of a row can't even be looked at: ragged, wrongly quoted, too long, not UTF-8.
 * csv-parse counts a quoted "\r\n" for two lines, and read leniently a stray quote swallows the rows behind it: so a record's own bytes are looked at again.
 */
import { isUtf8 } from "node:buffer";
import { CodedError, limits } from "@flamboyance/contracts";
import { Parser } from "csv-parse";
import { checkHeader, type ExpectedColumn } from "./columns.ts";
import type { Row } from "./row.ts";

type Fault = Pick<Extract<Row, { kind: "refused" }>, "code" | "message">;

/**
 * The first row that isn't blank is the header. Cells are texts, empty ones absent; a row's line is where it begins, quoted line ends and blank lines counted.
 * Throws invalid_header where one of the `expected` columns isn't there, and manifest_unreadable for a quote that never ends.
 */
export async function* csvRows(
  pieces: AsyncIterable<Uint8Array>,
  { delimiter, expected }: { readonly delimiter: "," | "\t"; readonly expected: readonly ExpectedColumn[] },
): AsyncGenerator<readonly Row[]> {
  const wellQuoted = quoting(delimiter);
  let header: readonly string[] | null = null;
  for await (const records of readRecords(pieces, delimiter)) {
    const rows: Row[] = [];
    for (const { line, bytes, cells } of records) {
      // Blanks alone in a line are no row: many tools end a file with some.
      if (cells.length === 1 && cells[0]?.trim() === "") continue;
      const fault = faultOf(bytes, wellQuoted);
      if (header === null) {
        if (fault !== null) throw new CodedError("invalid_header", `the header can't be read: ${fault.message}`, { line });
        header = readHeader(cells, expected, line);
      } else if (fault !== null) rows.push({ kind: "refused", line, ...fault });
      else if (cells.length !== header.length) {
        const message = `the row has ${cells.length} cells, the header has ${header.length}`;
        rows.push({ kind: "refused", line, code: "ragged_row", message });
      } else rows.push({ kind: "fields", line, fields: fieldsOf(header, cells) });
    }
    if (rows.length > 0) yield rows;
  }
}

function readHeader(cells: readonly string[], expected: readonly ExpectedColumn[], line: number): string[] {
  const names = cells.map((cell) => cell.trim());
  const twice = names.find((name, at) => name !== "" && names.indexOf(name) < at);
  if (twice !== undefined) throw new CodedError("invalid_header", `two columns are named ${twice}`, { line });
  checkHeader(names, expected, line);
  return names;
}

function fieldsOf(header: readonly string[], cells: readonly string[]): Record<string, string> {
  const filled: [string, string][] = [];
  for (const [at, cell] of cells.entries()) if (cell !== "") filled.push([header[at] ?? "", cell]);
  return Object.fromEntries(filled);
}

function faultOf(bytes: Buffer, wellQuoted: RegExp): Fault | null {
  if (bytes.length > limits.manifestLineBytes + 2) {
    return { code: "line_too_long", message: `the row is longer than ${limits.manifestLineBytes} bytes` };
  }
  if (!isUtf8(bytes)) return { code: "invalid_row", message: "the row isn't UTF-8" };
  if (!bytes.includes(quote) || wellQuoted.test(bytes.toString("utf8"))) return null;
  return { code: "invalid_row", message: 'a quote stands where none may: a cell with quotes stands in quotes, its own doubled ("")' };
}

/** A whole record: cells in quotes with their own doubled, or without any. Nothing in it can match two ways, so it takes no longer than the record is long. */
function quoting(delimiter: string): RegExp {
  const cell = `(?:"[^"]*(?:""[^"]*)*"|[^"\\n${delimiter}]*)`;
  return new RegExp(`^${cell}(?:${delimiter}${cell})*(?:\\r?\\n)?$`);
}

interface CsvRecord {
  /** Where it begins. */
  readonly line: number;
  /** With its line end. */
  readonly bytes: Buffer;
  readonly cells: readonly string[];
}

/** A quote that nobody closes takes the rest of the file for one cell: past this it is given up. */
const longestRecordBytes = 4 * limits.manifestLineBytes;

/** The records that end in a piece, together. Holds what a piece brings, and the open record. */
async function* readRecords(pieces: AsyncIterable<Uint8Array>, delimiter: string): AsyncGenerator<readonly CsvRecord[]> {
  const parsed: { readonly cells: readonly string[]; readonly endBytes: number }[] = [];
  const parser = new Parser({
    bom: true,
    delimiter,
    max_record_size: longestRecordBytes,
    record_delimiter: ["\r\n", "\n"],
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    on_record: (cells, { bytes }) => {
      parsed.push({ cells, endBytes: bytes });
      return null;
    },
  });
  // Whoever waits below is told.
  parser.on("error", () => {});
  const finished = (step: (done: (error?: Error | null) => void) => void) =>
    new Promise<Error | null>((resolve) => step((error) => resolve(error ?? null)));

  let held: Buffer = Buffer.alloc(0); // from the end of the last record on
  let heldFrom = 0; // where that is in the file
  let line = 1;
  const passBlank = (): void => {
    const blankBytes = leadingBytes(held, heldFrom);
    line += newlinesIn(held.subarray(0, blankBytes));
    held = held.subarray(blankBytes);
    heldFrom += blankBytes;
  };
  const take = ({ cells, endBytes }: (typeof parsed)[number]): CsvRecord => {
    passBlank();
    const record = { line, bytes: held.subarray(0, endBytes - heldFrom), cells };
    line += newlinesIn(record.bytes);
    held = held.subarray(record.bytes.length);
    heldFrom = endBytes;
    return record;
  };
  const failIf = (cause: Error | null): void => {
    if (cause === null) return;
    passBlank();
    throw new CodedError("manifest_unreadable", "a quote that opens in this row isn't closed", { line, cause });
  };

  try {
    for await (const piece of pieces) {
      const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
      const failure = await finished((done) => parser.write(bytes, done));
      yield parsed.splice(0).map(take);
      failIf(failure);
      // A file of blank lines is held no longer than any other.
      passBlank();
    }
    if (held.length === 0) return;
    const failure = await finished((done) => parser.end(done));
    yield parsed.splice(0).map(take);
    failIf(failure);
  } finally {
    parser.destroy();
  }
}

const quote = 0x22;
const newline = 0x0a;
const carriageReturn = 0x0d;
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/** Of what is before a record's first cell: blank lines, and the file's byte order mark. */
function leadingBytes(bytes: Buffer, offsetBytes: number): number {
  let at = offsetBytes === 0 && bytes.subarray(0, byteOrderMark.length).equals(byteOrderMark) ? byteOrderMark.length : 0;
  for (;;) {
    const end = bytes[at] === carriageReturn ? at + 1 : at;
    if (bytes[end] !== newline) return at;
    at = end + 1;
  }
}

function newlinesIn(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) count += 1;
  return count;
}
