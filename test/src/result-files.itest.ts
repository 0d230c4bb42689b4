/** What an ended batch's files hold: lines that say how they came about, tables of them, and a summary that proves all files, here and delivered. */
import { createHash } from "node:crypto";
import { zstdDecompressSync } from "node:zlib";
import { plainImage } from "@flamboyance/dev/plain-image";
import { serviceBucket } from "@flamboyance/dev/system";
import { batchKeys, jsonLine } from "@flamboyance/storage";
import { parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, expect, it } from "vitest";
import { customerBucket, startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const { signal } = new AbortController();
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const read = async (bucket: string, key: string): Promise<Uint8Array> => (await service.storage.read({ bucket, key }, { signal })).bytes;

it("says of each line what it was made of, and of each file what it holds", async () => {
  const put = (key: string, bytes: Uint8Array | string) =>
    service.storage.write({ bucket: customerBucket, key }, bytes, { contentType: "application/octet-stream", signal });
  const { etag } = await put("made/1.png", plainImage(1));
  const image = `s3://${customerBucket}/made/1.png`;
  const none = `s3://${customerBucket}/made/none.png`;
  const lines = [
    { custom_id: "a, the first", image, question: "Why?" },
    { custom_id: "gone", image: none },
    { custom_id: "list", images: [image, image], question: "Why?" },
    { custom_id: "bad" },
    { custom_id: "b", image, question: "How?" },
  ];
  await put("made.jsonl", lines.map(jsonLine).join(""));
  const { id } = await service.submit({
    input: `s3://${customerBucket}/made.jsonl`,
    output: `s3://${customerBucket}/made-out/`,
    task: "vqa",
    question: "What?",
    on_invalid: "skip",
    result_formats: ["parquet", "csv"],
  });
  const batch = await service.ended(id);
  const results = await wholeBatch(
    service,
    id,
    lines.map(({ custom_id }) => custom_id),
  );

  const facts = { image, etag: etag.replaceAll('"', ""), sha256: sha256(plainImage(1)) };
  const [first, gone, list, bad, last] = results.map(({ flamingo }) => flamingo);
  expect(first).toEqual({
    images: [facts],
    precision: expect.stringMatching(/^[a-z0-9]+$/),
    prompt_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    timings: { fetch_ms: expect.any(Number), decode_ms: expect.any(Number), engine_ms: expect.any(Number) },
    worker: expect.stringMatching(/^[0-9a-z]{26}$/),
  });
  expect(gone).toMatchObject({ images: [{ image: none, etag: null, sha256: null }], prompt_sha256: null, worker: first?.worker });
  // The model without a model takes one frame.
  expect(list).toMatchObject({ images: [facts], prompt_sha256: first?.prompt_sha256 });
  expect(bad).toBeUndefined();
  expect(last?.prompt_sha256).not.toBe(first?.prompt_sha256);

  const delivered = await until(
    "the delivery",
    () => service.client.batches.get(id),
    ({ delivery }) => delivery?.status === "delivered",
  );
  expect(delivered.results).toEqual(batch.results);
  const seal = (await service.queue.batch(id))?.seal ?? "";
  const keys = batchKeys(id).final(seal);
  expect(batch.results).toMatchObject({ csv: `s3://${serviceBucket}/${keys.csv}`, parquet: `s3://${serviceBucket}/${keys.parquet}` });
  const summary = JSON.parse(Buffer.from(await read(customerBucket, "made-out/summary.json")).toString());
  expect(Object.keys(summary.files)).toEqual(["output.jsonl", "errors.jsonl", "results.parquet", "results.csv"]);
  for (const [name, { size_bytes, sha256: hash }] of Object.entries<{ size_bytes: number; sha256: string }>(summary.files)) {
    for (const bytes of [await read(customerBucket, `made-out/${name}`), await read(serviceBucket, keys.folderPrefix + name)])
      expect({ name, size: bytes.length, hash: sha256(bytes) }).toEqual({ name, size: size_bytes, hash });
  }
  expect(Object.values<{ lines: number }>(summary.files).map((file) => file.lines)).toEqual([3, 2, 5, 5]);

  const file = new Uint8Array(await read(customerBucket, "made-out/results.parquet")).buffer;
  const rows = await parquetReadObjects({ file, compressors: { ZSTD: (page) => zstdDecompressSync(page) } });
  expect(rows.map(({ custom_id, status, error_code }) => [custom_id, status, error_code])).toEqual([
    ["a, the first", "completed", null],
    ["gone", "failed", "image_not_found"],
    ["list", "completed", null],
    ["bad", "failed", "invalid_line"],
    ["b", "completed", null],
  ]);
  expect(rows[0]).toMatchObject({ text: expect.stringMatching(/Why\?/), image_sha256: facts.sha256, worker: first?.worker });
  const csv = Buffer.from(await read(customerBucket, "made-out/results.csv"))
    .toString()
    .split("\r\n");
  expect(csv).toHaveLength(7);
  expect(csv[1]?.startsWith('"a, the first",completed,')).toBe(true);
});
