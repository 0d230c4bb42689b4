/**
 * A Parquet file as rows, read in ranges: the footer, then of each row group the columns that are wanted, and of these so many rows at a time.
 * Owns hyparquet, how its pages are unpacked, and the bounds of what is held; those of its time and memory are read-parquet.ts's, for a file can be made to
 * loop for good in here. Refuses files of several parts, encrypted ones, and LZO and LZ4 pages.
 */
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { CodedError, isCoded, limits } from "@flamboyance/contracts";
import {
  parquetMetadata,
  parquetScan,
  parquetSchema,
  snappyUncompress,
  type AsyncBuffer,
  type Compressors,
  type RowGroup,
} from "hyparquet";
import { checkHeader, type ColumnMap } from "./columns.ts";
import type { Row } from "./row.ts";

export interface RangeSource {
  readonly sizeBytes: number;
  readonly read: (offsetBytes: number, lengthBytes: number) => Promise<Uint8Array>;
}

/** Nulls are absent, whole numbers their digits. Throws invalid_header, manifest_unreadable, manifest_too_large, and what the source throws as it is. */
export async function* parquetRows(source: RangeSource, { read, expected }: Pick<ColumnMap, "read" | "expected">): AsyncGenerator<Row> {
  const metadata = await readFooter(source);
  const all = await decoded(() => parquetSchema(metadata).children.map(({ element }) => element.name));
  checkHeader(all, expected);
  const columns = read === null ? all : all.filter((name) => read.has(name));
  const stated = metadata.row_groups.reduce((sum, { num_rows: rows }) => sum + Number(rows), 0);
  if (stated !== Number(metadata.num_rows) || metadata.row_groups.some(({ num_rows: rows }) => rows < 0n)) {
    throw unreadable("its row groups don't have the rows that it says");
  }
  let line = 0;
  for (const group of metadata.row_groups) {
    const groupRows = Number(group.num_rows);
    const file = await holdGroup(source, group, columns);
    const one = { ...metadata, num_rows: group.num_rows, row_groups: [group] };
    const scan = await decoded(() => parquetScan({ file, metadata: one, columns, compressors, useOffsetIndex: false }));
    for (let start = 0; start < groupRows; start += rowsAtATime) {
      const wanted = Math.min(rowsAtATime, groupRows - start);
      const values = await decoded(() =>
        Promise.all(columns.map((column) => scan.readColumn({ column, rowStart: start, rowEnd: start + wanted }))),
      );
      // A column that ends early would pass for one of nulls.
      if (values.some(({ length }) => length !== wanted)) throw unreadable("a column has fewer values than its row group has rows");
      for (let at = 0; at < wanted; at++) {
        line += 1;
        yield toRow(
          line,
          columns.map((name, place) => [name, values[place]?.[at]]),
        );
      }
    }
  }
}

/** A window of rows: what a row group's pages are decoded to is held for so many. */
const rowsAtATime = 65_536;

function toRow(line: number, cells: readonly (readonly [string, unknown])[]): Row {
  const fields: Record<string, unknown> = {};
  let characters = 0;
  for (const [name, value] of cells) {
    if (value === null || value === undefined) continue;
    fields[name] = isWhole(value) ? String(value) : value;
    characters += sizeOf(value);
  }
  if (characters <= limits.manifestLineBytes) return { kind: "fields", line, fields };
  return { kind: "refused", line, code: "line_too_long", message: `the row is longer than ${limits.manifestLineBytes} characters` };
}

const isWhole = (value: unknown): value is number | bigint => typeof value === "bigint" || Number.isSafeInteger(value);

/** In characters, or what is like them; a list's and a structure's values together. */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (value instanceof Uint8Array) return value.length;
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce((sum: number, each) => sum + sizeOf(each), 1);
}

async function readFooter({ sizeBytes, read }: RangeSource): Promise<ReturnType<typeof parquetMetadata>> {
  if (sizeBytes < 12) throw unreadable("it is too short");
  const tail = Buffer.from(await read(sizeBytes - 8, 8));
  const magic = tail.toString("latin1", 4);
  if (magic === "PARE") throw unreadable("its footer is encrypted");
  if (magic !== "PAR1") throw unreadable("it doesn't end as a Parquet file does");
  const footerBytes = tail.readUInt32LE();
  if (footerBytes > limits.parquetFooterBytes) throw tooLarge(`its footer has more than ${limits.parquetFooterBytes} bytes`);
  if (footerBytes + 12 > sizeBytes) throw unreadable("its footer is longer than the file");
  const footer = await read(sizeBytes - 8 - footerBytes, footerBytes + 8);
  return decoded(() => parquetMetadata(toArrayBuffer(footer)));
}

/** The row group's wanted columns in memory, as a file of which nothing else is there. */
async function holdGroup(source: RangeSource, group: RowGroup, columns: readonly string[]): Promise<AsyncBuffer> {
  const ranges = group.columns.flatMap(({ meta_data: column, file_path: elsewhere }) => {
    if (elsewhere !== undefined) throw unreadable("its columns lie in other files");
    if (column === undefined) throw unreadable("its columns are encrypted");
    if (column.num_values < group.num_rows) throw unreadable("a column has fewer values than its row group has rows");
    if (!columns.includes(column.path_in_schema[0] ?? "")) return [];
    if (column.codec !== "UNCOMPRESSED" && compressors[column.codec] === undefined)
      throw unreadable(`its pages are packed with ${column.codec}`);
    const { dictionary_page_offset: dictionary = 0n, data_page_offset: data } = column;
    const start = Number(dictionary > 0n && dictionary < data ? dictionary : data);
    const end = start + Number(column.total_compressed_size);
    if (!(start >= 0 && end >= start && end <= source.sizeBytes)) throw unreadable("a column lies outside the file");
    return [{ start, end }];
  });
  const groupBytes = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  if (groupBytes > limits.parquetGroupBytes)
    throw tooLarge(`the wanted columns of a row group have more than ${limits.parquetGroupBytes} bytes`);
  const held = await Promise.all(
    ranges.map(async ({ start, end }) => ({ start, end, buffer: toArrayBuffer(await source.read(start, end - start)) })),
  );
  return {
    byteLength: source.sizeBytes,
    slice: async (from, to = source.sizeBytes) => {
      const within = held.find(({ start, end }) => start <= from && to <= end);
      if (within?.start === from && within.end === to) return within.buffer;
      if (within !== undefined) return within.buffer.slice(from - within.start, to - within.start);
      // Neighbouring columns are asked for together.
      if (!(from >= 0 && from <= to && to <= source.sizeBytes && to - from <= limits.parquetGroupBytes))
        throw unreadable("a page lies outside its column");
      return toArrayBuffer(await source.read(from, to - from));
    },
  };
}

/** Node's own, and bounded: a page that says it is small and isn't ends at what it says. */
export const compressors: Compressors = {
  SNAPPY: bounded((input, outputLength) => {
    const output = new Uint8Array(outputLength);
    snappyUncompress(input, output);
    return output;
  }),
  GZIP: bounded((input, outputLength) => gunzipSync(input, { maxOutputLength: outputLength })),
  ZSTD: bounded((input, outputLength) => zstdDecompressSync(input, { maxOutputLength: outputLength })),
  BROTLI: bounded((input, outputLength) => brotliDecompressSync(input, { maxOutputLength: outputLength })),
};

type Unpack = (input: Uint8Array, outputLength: number) => Uint8Array;

function bounded(unpackPage: Unpack): Unpack {
  return (input, outputLength) => {
    if (outputLength > limits.parquetPageBytes) throw tooLarge(`a page has more than ${limits.parquetPageBytes} bytes`);
    // A page of nulls may have no bytes at all, packed ones neither.
    return outputLength === 0 ? new Uint8Array(0) : unpackPage(input, outputLength);
  };
}

/** Whatever hyparquet throws over bytes is the bytes' fault. */
async function decoded<T>(decode: () => T | Promise<T>): Promise<T> {
  try {
    return await decode();
  } catch (error) {
    if (isCoded(error)) throw error;
    throw new CodedError(
      "manifest_unreadable",
      `its Parquet structure is damaged: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}

const unreadable = (message: string): CodedError =>
  new CodedError("manifest_unreadable", `not a Parquet file that can be read: ${message}`);
const tooLarge = (message: string): CodedError => new CodedError("manifest_too_large", message);

function toArrayBuffer(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = bytes;
  return buffer instanceof ArrayBuffer && byteOffset === 0 && byteLength === buffer.byteLength ? buffer : new Uint8Array(bytes).buffer;
}
