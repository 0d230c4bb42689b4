import {
  failedLine,
  neverRanLine,
  refusedResultLine,
  resultLine,
  succeededLine,
  type Provenance,
  type ResultLine,
} from "@flamboyance/contracts";
import { parse } from "csv-parse/sync";
import { parquetReadObjects } from "hyparquet";
import { compressors } from "../rows/parquet-rows.ts";
import { describe, expect, it } from "vitest";
import { csvHeader, csvRow } from "./csv-table.ts";
import { ParquetTable } from "./parquet-table.ts";
import { resultColumns } from "./result-row.ts";

const identity = (item: number, customId = `item-${item}`) => ({ batchId: "batch_1", item, customId });
const provenance: Provenance = {
  images: [{ image: "s3://photos/a.jpg", etag: "1f", sha256: "2e" }],
  precision: "int8",
  prompt_sha256: "3d",
  timings: { fetch_ms: 12, decode_ms: 3, engine_ms: 140 },
  worker: "01abc",
};
const choice = (index: number, content: string, logprobs: number[] | null = null) => ({
  index,
  message: { role: "assistant" as const, content, refusal: null },
  finish_reason: "stop" as const,
  logprobs:
    logprobs === null
      ? null
      : { content: logprobs.map((logprob) => ({ token: "x", logprob, bytes: [120], top_logprobs: [] })), refusal: null },
});
const completion = (choices: ReturnType<typeof choice>[], labels?: { label: string; sum: number; mean: number }[]) => ({
  created: 5,
  model: "demo",
  choices,
  usage: { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13, prompt_tokens_details: { cached_tokens: 6 } },
  ...(labels === undefined ? {} : { flamingo: { labels } }),
});

const lines: ResultLine[] = [
  succeededLine(identity(0), completion([choice(0, 'He said "no",\r\nthen left', [-0.5, -1])]), provenance),
  succeededLine(identity(1), completion([choice(0, ""), choice(1, "ü 😀 ")]), {
    ...provenance,
    images: [...provenance.images, { image: "b", etag: null, sha256: "4c" }],
    copied_from: "batch_req_1-0",
  }),
  succeededLine(
    identity(2),
    completion(
      [choice(0, "a bird")],
      [
        { label: "a bird", sum: -3, mean: -1.5 },
        { label: "a cat", sum: -4, mean: -2 },
      ],
    ),
    { ...provenance, reused_from: "batch_req_0-9" },
  ),
  failedLine(identity(3), "image_not_found", "there is no s3://photos/b.jpg", {
    ...provenance,
    images: [{ image: "s3://photos/b.jpg", etag: null, sha256: null }],
    prompt_sha256: null,
  }),
  neverRanLine(identity(4), "batch_cancelled"),
  refusedResultLine("batch_1", { code: "invalid_line", message: "doesn't fit", param: "image", line: 7, custom_id: null, before_item: 5 }),
];

const expected = [
  {
    custom_id: "item-0",
    status: "completed",
    text: 'He said "no",\r\nthen left',
    texts: null,
    log_probability: -1.5,
    image: "s3://photos/a.jpg",
    image_etag: "1f",
    engine_ms: 140,
    copied_from: null,
    reused_from: null,
  },
  {
    custom_id: "item-1",
    status: "completed",
    text: "",
    texts: '["","ü 😀 "]',
    log_probability: null,
    image: null,
    images: '[{"image":"s3://photos/a.jpg","etag":"1f","sha256":"2e"},{"image":"b","etag":null,"sha256":"4c"}]',
    copied_from: "batch_req_1-0",
  },
  {
    custom_id: "item-2",
    text: "a bird",
    log_probability: -3,
    labels: '[{"label":"a bird","sum":-3,"mean":-1.5},{"label":"a cat","sum":-4,"mean":-2}]',
    reused_from: "batch_req_0-9",
  },
  {
    custom_id: "item-3",
    status: "failed",
    text: null,
    error_code: "image_not_found",
    image: "s3://photos/b.jpg",
    image_sha256: null,
    prompt_sha256: null,
    worker: "01abc",
  },
  { custom_id: "item-4", status: "failed", error_code: "batch_cancelled", worker: null, engine_ms: null },
  { custom_id: null, status: "failed", error_code: "invalid_line", error_message: "image: doesn't fit", manifest_line: 7 },
];

const parquetOf = (some: Iterable<ResultLine>): Uint8Array => {
  const table = new ParquetTable();
  const pieces: Uint8Array[] = [];
  for (const line of some) {
    const piece = table.add(line);
    if (piece !== null) pieces.push(piece);
  }
  return Buffer.concat([...pieces, table.finish()]);
};
const rowsOf = (bytes: Uint8Array) => parquetReadObjects({ file: new Uint8Array(bytes).buffer, compressors });

describe("result lines", () => {
  it("are lines of the wire", () => {
    for (const line of lines) expect(resultLine.strict().parse(line)).toEqual(line);
  });

  it("are rows of a Parquet file, the same bytes each time", async () => {
    const bytes = parquetOf(lines);
    expect(await rowsOf(bytes)).toMatchObject(expected);
    expect(Buffer.compare(bytes, parquetOf(lines))).toBe(0);
    expect(await rowsOf(parquetOf([]))).toEqual([]);
  });

  it("are written in groups, and read back whole over them", async () => {
    function* many(): Generator<ResultLine> {
      for (let item = 0; item < 25_000; item++) yield succeededLine(identity(item), completion([choice(0, `text ${item}`)]), provenance);
    }
    const rows = await rowsOf(parquetOf(many()));
    expect(rows.length).toBe(25_000);
    expect(rows.every(({ custom_id: id, text }, at) => id === `item-${at}` && text === `text ${at}`)).toBe(true);
  });

  it("are rows of a CSV, whatever their texts hold", () => {
    const text = csvHeader + lines.map(csvRow).join("");
    const rows: Record<string, string>[] = parse(text, { columns: true });
    const cells = expected.map((row) =>
      Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === null ? "" : String(value)])),
    );
    expect(rows).toMatchObject(cells);
    expect(Object.keys(rows[0] ?? {})).toEqual(resultColumns.map(({ name }) => name));
    // Absent, and empty.
    expect(csvRow(lines[4] ?? lines[0]!).startsWith("item-4,failed,,,")).toBe(true);
    expect(csvRow(lines[1] ?? lines[0]!).startsWith('item-1,completed,"",')).toBe(true);
  });
});
