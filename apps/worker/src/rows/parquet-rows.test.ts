import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { CodedError, limits } from "@flamboyance/contracts";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, it } from "vitest";
import { mapColumns } from "./columns.ts";
import { parquetRows } from "./parquet-rows.ts";
import type { Row } from "./row.ts";

type Written = Parameters<typeof parquetWriteBuffer>[0];
type Column = Written["columnData"][number];

const text = (name: string, data: (string | null)[]): Column => ({ name, data, type: "STRING", nullable: true });
const write = (columnData: Column[], options: Partial<Written> = {}): Uint8Array =>
  new Uint8Array(parquetWriteBuffer({ columnData, ...options }));

interface Source {
  readonly sizeBytes: number;
  readonly read: (offsetBytes: number, lengthBytes: number) => Promise<Uint8Array>;
  readonly ranges: { offsetBytes: number; lengthBytes: number }[];
}

function sourceOf(bytes: Uint8Array): Source {
  const ranges: Source["ranges"] = [];
  const read = (offsetBytes: number, lengthBytes: number) => {
    ranges.push({ offsetBytes, lengthBytes });
    if (offsetBytes < 0 || lengthBytes < 0 || offsetBytes + lengthBytes > bytes.length) throw new RangeError("read past the end");
    // As S3 gives it: a view of something larger.
    return Promise.resolve(Buffer.concat([Buffer.alloc(3), bytes.subarray(offsetBytes, offsetBytes + lengthBytes)]).subarray(3));
  };
  return { sizeBytes: bytes.length, read, ranges };
}

const rowsOf = (source: Pick<Source, "sizeBytes" | "read">, columns?: Parameters<typeof mapColumns>[0]): Promise<Row[]> =>
  Array.fromAsync(parquetRows(source, columns === undefined ? { read: null, expected: [] } : mapColumns(columns)));
const brief = (rows: readonly Row[]) =>
  rows.map((row) => (row.kind === "fields" ? { [row.line]: row.fields } : `${row.line}: ${row.code}`));

describe("a Parquet file", () => {
  it("gives its rows over row groups, nulls as absent, whole numbers as their digits", async () => {
    const bytes = write(
      [
        text("a", ["1", null, "ü", "1", "5"]),
        { name: "b", data: [1, 2, -3, 4, 5], type: "INT32" },
        { name: "c", data: [1n, 2n, 3n, 2n ** 60n, 5n], type: "INT64" },
        { name: "d", data: [1.5, 2, 3, 4, 5], type: "DOUBLE" },
      ],
      { rowGroupSize: 2 },
    );
    expect(brief(await rowsOf(sourceOf(bytes)))).toEqual([
      { 1: { a: "1", b: "1", c: "1", d: 1.5 } },
      { 2: { b: "2", c: "2", d: "2" } },
      { 3: { a: "ü", b: "-3", c: "3", d: "3" } },
      { 4: { a: "1", b: "4", c: String(2n ** 60n), d: "4" } },
      { 5: { a: "5", b: "5", c: "5", d: "5" } },
    ]);
  });

  it.each([
    ["UNCOMPRESSED", undefined],
    ["SNAPPY", undefined],
    ["GZIP", (input: Uint8Array) => gzipSync(input)],
    ["ZSTD", (input: Uint8Array) => zstdCompressSync(input)],
    ["BROTLI", (input: Uint8Array) => brotliCompressSync(input)],
  ] as const)("is read with pages packed with %s", async (codec, pack) => {
    const data = Array.from({ length: 2_000 }, (_, at) => `s3://photos/${at}.jpg`);
    const bytes = write([text("image", data)], { codec, ...(pack === undefined ? {} : { compressors: { [codec]: pack } }) });
    expect((await rowsOf(sourceOf(bytes))).map((row) => row.kind === "fields" && row.fields["image"])).toEqual(data);
  });

  it("is read a window of rows at a time, and only in the columns that are wanted", async () => {
    const count = 70_000;
    const data = Array.from({ length: count }, (_, at) => `item-${at}`);
    const large = Array.from({ length: count }, (_, at) => `${at}`.padStart(40, "x"));
    const bytes = write([text("id", data), text("other", large), text("image", data)], { rowGroupSize: 68_000, codec: "UNCOMPRESSED" });
    const source = sourceOf(bytes);
    const wrong: Row[] = [];
    let line = 0;
    for await (const row of parquetRows(source, mapColumns({ custom_id: "id" }))) {
      const right = row.kind === "fields" && row.line === line + 1 && row.fields["id"] === data[line] && row.fields["image"] === data[line];
      if (!right || Object.keys(row.fields).length !== 2) wrong.push(row);
      line += 1;
    }
    expect(wrong).toEqual([]);
    expect(line).toBe(count);
    // Every byte once at most, and none of the other column's.
    const readBytes = source.ranges.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    expect(readBytes).toBeLessThan(bytes.length / 2);
  });

  it("gives rows that hold nothing of what is read as such", async () => {
    const rows = parquetRows(sourceOf(write([text("other", ["a", "b"])])), { read: new Set(["image"]), expected: [] });
    expect(brief(await Array.fromAsync(rows))).toEqual([{ 1: {} }, { 2: {} }]);
  });

  it("reads lists", async () => {
    const bytes = write([{ name: "images", data: [["a", "b"], [], null, ["c"]] }], {
      schema: [
        { name: "root", num_children: 1 },
        { name: "images", repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", repetition_type: "OPTIONAL", type: "BYTE_ARRAY", converted_type: "UTF8" },
      ],
    });
    expect(brief(await rowsOf(sourceOf(bytes)))).toEqual([
      { 1: { images: ["a", "b"] } },
      { 2: { images: [] } },
      { 3: {} },
      { 4: { images: ["c"] } },
    ]);
  });

  it("refuses a row that is too long, and goes on", async () => {
    const bytes = write([text("a", ["x".repeat(limits.manifestLineBytes + 1), "2"])]);
    expect(brief(await rowsOf(sourceOf(bytes)))).toEqual(["1: line_too_long", { 2: { a: "2" } }]);
  });

  it("is refused whole where a column is missing that was asked for", async () => {
    const bytes = write([text("a", ["1"])]);
    await expect(rowsOf(sourceOf(bytes), { image: "url" })).rejects.toMatchObject({
      code: "invalid_header",
      param: "columns.image",
      message: "there is no column url, and none custom_id; there are a",
    });
  });

  it("passes on what its source throws", async () => {
    const failure = new CodedError("storage_unavailable", "away");
    const source = sourceOf(write([text("a", ["1"])]));
    let calls = 0;
    for (const last of [1, 2, 3]) {
      calls = 0;
      const read: Source["read"] = (...range) => ((calls += 1) === last ? Promise.reject(failure) : source.read(...range));
      await expect(rowsOf({ ...source, read })).rejects.toBe(failure);
    }
  });

  it("is refused where it is cut off, and whatever else is damaged never passes for a passing fault", async () => {
    const bytes = write(
      [
        text(
          "id",
          Array.from({ length: 300 }, (_, at) => `item-${at}`),
        ),
        text(
          "image",
          Array.from({ length: 300 }, () => "s3://photos/1"),
        ),
      ],
      {
        rowGroupSize: 100,
      },
    );
    for (const length of [0, 3, 11, 50, bytes.length - 9, bytes.length - 1]) {
      await expect(rowsOf(sourceOf(bytes.subarray(0, length))), `${length} bytes`).rejects.toMatchObject({ code: "manifest_unreadable" });
    }
    const codes = new Set<string>();
    let seed = 7;
    const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
    for (let round = 0; round < 300; round++) {
      const damaged = Uint8Array.from(bytes);
      for (let count = 0; count <= round % 4; count++) damaged[random(bytes.length)] = random(256);
      const code = await rowsOf(sourceOf(damaged)).then(
        () => "read",
        (error: unknown) => (error instanceof CodedError ? error.code : `uncoded: ${String(error)}`),
      );
      codes.add(code);
    }
    expect([...codes].filter((code) => !["read", "manifest_unreadable", "manifest_too_large"].includes(code))).toEqual([]);
    expect(codes).toContain("manifest_unreadable");
  });
});
