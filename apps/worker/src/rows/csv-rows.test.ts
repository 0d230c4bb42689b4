import { CodedError, limits } from "@flamboyance/contracts";
import { describe, expect, it } from "vitest";
import { cut } from "../testing/pieces.ts";
import { csvRows } from "./csv-rows.ts";
import type { Row } from "./row.ts";

type Options = Partial<Parameters<typeof csvRows>[1]>;

/** The rows of a text, read in pieces of several sizes: however the bytes are cut, the rows are the same. */
async function rowsOf(text: string | Buffer, options: Options = {}): Promise<Row[]> {
  const read = async (sizeBytes: number) =>
    (await Array.fromAsync(csvRows(cut(text, sizeBytes), { delimiter: ",", expected: [], ...options }))).flat();
  const whole = await read(64 * 1024);
  if (text.length < 10_000) for (const sizeBytes of [1, 2, 3, 7]) expect(await read(sizeBytes)).toEqual(whole);
  return whole;
}

const brief = (rows: readonly Row[]) =>
  rows.map((row) => (row.kind === "fields" ? { [row.line]: row.fields } : `${row.line}: ${row.code}`));

describe("a CSV", () => {
  it("gives each row by its header's names, with the line where it begins", async () => {
    expect(brief(await rowsOf("a,b\n1,2\n3,4"))).toEqual([{ 2: { a: "1", b: "2" } }, { 3: { a: "3", b: "4" } }]);
  });

  it("counts lines over quoted line ends of either kind, and over blank lines", async () => {
    const text = '\uFEFF\r\n a ,"b"\r\n"one\r\ntwo\n",2\r\n\r\n  \r\n3,"four ""4"", \n5"\n\n6,7\n';
    expect(brief(await rowsOf(text))).toEqual([
      { 3: { a: "one\r\ntwo\n", b: "2" } },
      { 8: { a: "3", b: 'four "4", \n5' } },
      { 11: { a: "6", b: "7" } },
    ]);
  });

  it("takes empty cells for absent fields, quoted or not", async () => {
    expect(brief(await rowsOf('a,b,c\n1,,""\n,,\n'))).toEqual([{ 2: { a: "1" } }, { 3: {} }]);
  });

  it("reads tabs, quotes and all", async () => {
    expect(brief(await rowsOf('a\tb\n1,5\t"2\t3"\n', { delimiter: "\t" }))).toEqual([{ 2: { a: "1,5", b: "2\t3" } }]);
  });

  it("refuses ragged rows as such, and goes on", async () => {
    expect(brief(await rowsOf("a,b\n1\n1,2,3\n1,2\n"))).toEqual(["2: ragged_row", "3: ragged_row", { 4: { a: "1", b: "2" } }]);
  });

  it.each([
    ["a quote in a plain cell", '5" disk,2'],
    ["text behind a quoted cell", '"one"two,2'],
    ["a blank before a quote", '1, "2"'],
    ["a stray quote that takes in the next row", '1,"5 inch\n3,5" disk'],
  ])("refuses a row with %s, and goes on behind it", async (_what, row) => {
    const rows = await rowsOf(`a,b\n${row}\n7,8\n`);
    expect(brief(rows)).toEqual(["2: invalid_row", { [row.includes("\n") ? 4 : 3]: { a: "7", b: "8" } }]);
  });

  it("refuses a row that isn't UTF-8, or is too long, and goes on", async () => {
    const broken = Buffer.concat([Buffer.from("a,b\n1,"), Buffer.from([0xff, 0xfe]), Buffer.from("\n3,4\n")]);
    expect(brief(await rowsOf(broken))).toEqual(["2: invalid_row", { 3: { a: "3", b: "4" } }]);
    const long = `a,b\n1,${"x".repeat(limits.manifestLineBytes)}\n3,${"y".repeat(limits.manifestLineBytes - 2)}\n`;
    expect((await rowsOf(long)).map((row) => (row.kind === "refused" ? `${row.line}: ${row.code}` : row.line))).toEqual([
      "2: line_too_long",
      3,
    ]);
  });

  it.each([
    ["two columns of a name", "a,b,a\n1,2,3\n", {}, { code: "invalid_header", line: 1 }],
    [
      "a column missing that was asked for",
      "\na,b\n",
      { expected: [{ oneOf: ["url"], param: "columns.image" }] },
      { code: "invalid_header", line: 2, param: "columns.image" },
    ],
    ["a wrong quote in the header", 'a,b"c\n1,2\n', {}, { code: "invalid_header", line: 1 }],
    ["UTF-16", Buffer.from("\uFEFFa,b\n1,2\n", "utf16le"), {}, { code: "invalid_header", line: 1 }],
    ["a quote that nobody closes", 'a,b\n1,2\n\n3,"4\n5,6\n', {}, { code: "manifest_unreadable", line: 4 }],
  ])("is refused whole for %s", async (_what, text, options: Options, expected) => {
    await expect(rowsOf(text, options)).rejects.toMatchObject(expected);
  });

  it("gives a quote up that swallows megabytes", async () => {
    const text = `a,b\n1,"${"x,y\n".repeat(1_300_000)}`;
    await expect(rowsOf(text)).rejects.toMatchObject({ code: "manifest_unreadable", line: 2 });
  });

  it("has no rows where nothing but a header is, or not even that", async () => {
    for (const text of ["", "\n\n", "a,b", "a,b\n"]) expect(await rowsOf(text)).toEqual([]);
  });

  it("passes on what its source throws, behind the rows before it", async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(`a,b\n1,2\n3,${"4".repeat(100)}`);
      throw new CodedError("storage_unavailable", "away");
    }
    const seen: Row[] = [];
    const reading = (async () => {
      for await (const rows of csvRows(failing(), { delimiter: ",", expected: [] })) seen.push(...rows);
    })();
    await expect(reading).rejects.toMatchObject({ code: "storage_unavailable" });
    expect(brief(seen)).toEqual([{ 2: { a: "1", b: "2" } }]);
  });

  it("ends its source when its reader has enough", async () => {
    let ended = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield Buffer.from("a,b\n");
        for (;;) yield Buffer.from("1,2\n");
      } finally {
        ended = true;
      }
    }
    for await (const rows of csvRows(source(), { delimiter: ",", expected: [] })) if (rows.some(({ line }) => line === 5)) break;
    expect(ended).toBe(true);
  });
});
