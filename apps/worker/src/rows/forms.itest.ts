/** Random tables, written in every form that a manifest may have, give the same items and the same refusals. */
import { gzipSync, zstdCompressSync } from "node:zlib";
import { jsonLine } from "@flamboyance/storage";
import type { BatchRequest } from "@flamboyance/contracts";
import { parquetWriteBuffer } from "hyparquet-writer";
import { expect, it } from "vitest";
import { readManifest } from "../manifest.ts";
import { holding } from "../testing/manifest-storage.ts";
import { requestOf } from "../testing/request.ts";

type Field = "custom_id" | "image" | "images" | "question" | "labels";
type TableRow = Partial<Record<Field, string | string[]>>;

const fields: readonly Field[] = ["custom_id", "image", "images", "question", "labels"];
/** What a table calls them where it has names of its own. */
const theirs: Record<Field, string> = { custom_id: "Id, theirs", image: 'the "url"', images: "frames", question: "question", labels: "ç" };

function randomTable(seed: number): TableRow[] {
  let state = seed + 1;
  const random = (below: number) => (state = (state * 48_271) % 2_147_483_647) % below;
  const characters = ["a", "b", "7", " ", ",", '"', "\n", "\r\n", "\t", "ü", "😀", "[", "\\", "'", ";", "null"];
  const word = () => Array.from({ length: 1 + random(8) }, () => characters[random(characters.length)]).join("");
  const location = () => `s3://photos/${word()}`;
  const list = (make: () => string) => Array.from({ length: random(4) }, make);
  return Array.from({ length: random(60) }, () => {
    const row: TableRow = {};
    if (random(10) > 0) row.custom_id = random(8) === 0 ? "again" : word();
    if (random(10) > 1) row.image = random(9) === 0 ? word() : location();
    else if (random(4) > 0) row.images = list(location);
    if (random(3) === 0) row.question = word();
    if (random(3) === 0) row.labels = list(word);
    return row;
  });
}

type Write = (table: readonly TableRow[], nameOf: (field: Field) => string) => Uint8Array | string;

const cellOf = (value: string | string[] | undefined): string =>
  value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
const quoted = (cell: string): string => (/[",\t\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
const asLines: Write = (table, nameOf) =>
  table.map((row) => jsonLine(Object.fromEntries(Object.entries(row).map(([field, value]) => [nameOf(field as Field), value])))).join("");
const asCells =
  (delimiter: string): Write =>
  (table, nameOf) =>
    [fields.map(nameOf), ...table.map((row) => fields.map((field) => cellOf(row[field])))]
      .map((cells) => `${cells.map(quoted).join(delimiter)}\n`)
      .join("");
const asParquet: Write = (table, nameOf) =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: fields.map((field) => ({
        name: nameOf(field),
        data: table.map((row) => (row[field] === undefined ? null : cellOf(row[field]))),
        type: "STRING" as const,
        nullable: true,
      })),
      rowGroupSize: 7,
    }),
  );

const forms: readonly (readonly [string, Write])[] = [
  ["csv", asCells(",")],
  ["tsv", asCells("\t")],
  ["parquet", asParquet],
  ["ndjson.gz", (...table) => gzipSync(asLines(...table))],
  ["csv.gz", (...table) => gzipSync(asCells(",")(...table))],
  ["tsv.zst", (...table) => zstdCompressSync(asCells("\t")(...table))],
];

async function entriesOf(ending: string, bytes: Uint8Array | string, further: Partial<BatchRequest>): Promise<unknown[]> {
  const request = requestOf({ input: `s3://photos/table.${ending}`, task: "vqa", question: "Why?", ...further });
  const options = { serviceBucket: "service", signal: new AbortController().signal };
  const entries = (await Array.fromAsync(readManifest(holding(bytes), request, options))).flat();
  // Their lines differ by form: a cell may hold line ends.
  return entries.map((entry) => (entry.kind === "item" ? { ...entry.item, line: 0 } : { ...entry.refused, line: 0 }));
}

it.each(forms)("of .%s the same as of JSON lines", async (ending, write) => {
  let items = 0;
  // A Parquet file's reader is a process each time.
  const seeds = ending === "parquet" ? 4 : 15;
  for (let seed = 0; seed < seeds; seed++) {
    const table = randomTable(seed);
    const own = (field: Field) => field;
    const expected = await entriesOf("jsonl", asLines(table, own), {});
    expect(await entriesOf(ending, write(table, own), {}), `seed ${seed}`).toEqual(expected);
    expect(
      await entriesOf(
        ending,
        write(table, (field) => theirs[field]),
        { columns: theirs },
      ),
      `seed ${seed}, mapped`,
    ).toEqual(expected);
    items += expected.length;
  }
  expect(items).toBeGreaterThan(10 * seeds);
});
