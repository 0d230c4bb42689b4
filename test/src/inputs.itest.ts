/** Every form of input through the real service, on every S3 server that is here: the same items out of each, and what becomes of bad and damaged ones. */
import { gzipSync, zstdCompressSync } from "node:zlib";
import { limits, type CreateDatasetBatchInput } from "@flamboyance/contracts";
import { plainImage } from "@flamboyance/dev/plain-image";
import { testServers } from "@flamboyance/dev/s3";
import { jsonLine } from "@flamboyance/storage";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codesOf, customerBucket, startService, wholeBatch, type Service } from "./testing/service.ts";

const image = `s3://${customerBucket}/inputs/image.png`;

/** What all forms hold: of the third the id is missing, the fourth has the first's. */
const table = [
  { id: "a, the first", url: image, question: 'Is it "red"?' },
  { id: "b\nthe second", url: image, question: "" },
  { id: "", url: image, question: "What?" },
  { id: "a, the first", url: image, question: "" },
  { id: "ç", url: image, question: "Où?" },
];
const columns = { custom_id: "id", image: "url" };

const quoted = (cell: string): string => (/[",\t\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
const separated = (delimiter: string): string =>
  [["id", "note", "url", "question"], ...table.map(({ id, url, question }) => [id, "x", url, question])]
    .map((cells) => `${cells.map(quoted).join(delimiter)}\r\n`)
    .join("");
const parquet = (): Uint8Array =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: (["id", "url", "question"] as const).map((name) => ({
        name,
        data: table.map((row) => (row[name] === "" ? null : row[name])),
        type: "STRING" as const,
        nullable: true,
      })),
      rowGroupSize: 2,
    }),
  );
const lines = (): string =>
  table.map((row) => jsonLine(Object.fromEntries(Object.entries({ ...row, note: 5 }).filter(([, value]) => value !== "")))).join("");

const forms: Record<string, () => Uint8Array | string> = {
  "table.jsonl.zst": () => zstdCompressSync(lines()),
  "table.csv.gz": () => gzipSync(separated(",")),
  "table.tsv": () => separated("\t"),
  "table.parquet": parquet,
};

describe.each(testServers())("on $name", (server) => {
  let service: Service;
  beforeAll(async () => {
    service = await startService({ s3: await server.start() });
    await put("inputs/image.png", plainImage(1));
  });
  afterAll(() => service.close());
  const { signal } = new AbortController();
  const put = (key: string, bytes: Uint8Array | string) =>
    service.storage.write({ bucket: customerBucket, key }, bytes, { contentType: "application/octet-stream", signal });
  const submit = async (key: string, bytes: Uint8Array | string, further: Partial<CreateDatasetBatchInput> = {}) => {
    await put(key, bytes);
    const { id } = await service.submit({ input: `s3://${customerBucket}/${key}`, task: "vqa", question: "Why?", ...further });
    return service.ended(id);
  };
  const errorsOf = ({ errors }: { errors: { data: { code: string; param: string | null; line: number | null }[] } | null }) =>
    (errors?.data ?? []).map(({ code, param, line }) => ({ code, param, line }));

  it.each(Object.keys(forms))("makes the same items of %s", async (name) => {
    const batch = await submit(name, forms[name]?.() ?? "", { columns, on_invalid: "skip" });
    expect(batch.status).toBe("completed");
    const results = await wholeBatch(service, batch.id, ["a, the first", "b\nthe second", null, "a, the first", "ç"]);
    expect(codesOf(results)).toEqual(["ok", "ok", "invalid_line", "duplicate_custom_id", "ok"]);
    const texts = results.map(({ response }) =>
      response?.body !== undefined && "choices" in response.body ? response.body.choices[0]?.message.content : "",
    );
    expect(texts[0]).toMatch(/Question:Is it "red"\? Short answer:$/);
    expect(texts[1]).toMatch(/Question:Why\? Short answer:$/);
    expect(texts[4]).toMatch(/Question:Où\? Short answer:$/);
  });

  it("refuses columns that nobody mentioned, with their rows", async () => {
    const batch = await submit("unmapped.csv", `custom_id,image,qestion\n1,${image},Why\n2,${image},\n`);
    expect(batch.status).toBe("failed");
    expect(errorsOf(batch)).toEqual([{ code: "invalid_line", param: "qestion", line: 2 }]);
  });

  it.each([
    ["cut.csv.gz", () => gzipSync(separated(",")).subarray(0, -9), { columns }, "manifest_unreadable"],
    ["cut.jsonl.zst", () => zstdCompressSync(lines()).subarray(0, -9), {}, "manifest_unreadable"],
    ["other.jsonl.gz", lines, {}, "manifest_unreadable"],
    ["open.csv", () => `custom_id,image\n1,"${image}\n`, {}, "manifest_unreadable"],
    ["cut.parquet", () => parquet().subarray(0, -9), {}, "manifest_unreadable"],
    ["other.parquet", lines, {}, "manifest_unreadable"],
    ["bomb.jsonl.gz", () => gzipSync(Buffer.alloc(2 * limits.manifestFreeBytes)), {}, "manifest_too_large"],
    ["header.csv", () => separated(","), { columns: { image: "link" } }, "invalid_header"],
    ["header.parquet", parquet, { columns: { image: "link" } }, "invalid_header"],
    ["names.csv", () => separated(","), {}, "invalid_header"],
    ["names.parquet", parquet, {}, "invalid_header"],
  ])("fails a batch over %s at once, with the reason, whatever becomes of bad lines", async (name, bytes, further, code) => {
    const batch = await submit(name, bytes(), { on_invalid: "skip", ...further });
    expect({ status: batch.status, codes: errorsOf(batch).map((error) => error.code) }).toEqual({ status: "failed", codes: [code] });
    await wholeBatch(service, batch.id, []);
  });

  it("shows the first bad lines, counts the rest, and says what ended the reading", async () => {
    const many = `custom_id,image\n${"only one cell\n".repeat(400)}`;
    const batch = await submit("many.csv", many);
    expect(batch.status).toBe("failed");
    expect(errorsOf(batch)).toEqual([
      ...Array.from({ length: limits.lineErrorsShown }, (_, at) => ({ code: "ragged_row", param: null, line: at + 2 })),
      { code: "more_line_errors", param: null, line: null },
    ]);
    expect(batch.errors?.data.at(-1)?.message).toMatch(/\b350\b/);
    expect(errorsOf(await submit("many-open.csv", `${many}"`)).slice(limits.lineErrorsShown)).toEqual([
      { code: "more_line_errors", param: null, line: null },
      { code: "manifest_unreadable", param: null, line: 402 },
    ]);
  });

  it("gives an image that isn't the one that was meant as an item's error", async () => {
    const location = { bucket: customerBucket, key: "inputs/changing.png" };
    const etags: string[] = [];
    for (const level of [2, 3]) {
      await put(location.key, plainImage(level));
      etags.push((await service.storage.describe(location, { signal }))?.etag ?? "");
    }
    const text = etags
      .map((etag, at) => jsonLine({ custom_id: String(at), image: `s3://${customerBucket}/${location.key}`, etag }))
      .join("");
    const batch = await submit("etags.jsonl", text);
    expect(batch.status).toBe("completed");
    expect(codesOf(await wholeBatch(service, batch.id, ["0", "1"]))).toEqual(["image_changed", "ok"]);
  });

  it("takes of a prefix what is included and not excluded", async () => {
    for (const key of ["some/a.png", "some/b.png", "some/deep/c.png", "some/thumbs/d.png", "some/e.txt"])
      await put(key, plainImage(key.length));
    const { id } = await service.submit({ input: `s3://${customerBucket}/some/`, include: ["**/*.png"], exclude: ["thumbs/", "b.*"] });
    await service.ended(id);
    await wholeBatch(service, id, ["some/a.png", "some/deep/c.png"]);
  });
});
