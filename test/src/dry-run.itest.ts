/** A dry run: the report of a manifest with all kinds of faults, and that nothing of it runs or is written. */
import { plainImage } from "@flamboyance/dev/plain-image";
import { serviceBucket } from "@flamboyance/dev/system";
import { batchKeys, jsonLine } from "@flamboyance/storage";
import { afterAll, beforeAll, expect, it } from "vitest";
import { customerBucket, startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const { signal } = new AbortController();
const put = (key: string, bytes: Uint8Array | string) =>
  service.storage.write({ bucket: customerBucket, key }, bytes, { contentType: "application/octet-stream", signal });
const at = (key: string) => `s3://${customerBucket}/${key}`;
const keysBelow = async (bucket: string, prefix: string) =>
  (await Array.fromAsync(service.storage.list({ bucket, key: prefix }, { signal }))).map(({ key }) => key.slice(prefix.length));

it("ends with a report, and nothing else", async () => {
  await put("dry/1.png", plainImage(1));
  await put("dry/text.png", "no image");
  const lines = [
    { custom_id: "fine", image: at("dry/1.png") },
    { custom_id: "missing", image: at("dry/none.png") },
    { custom_id: "text", image: at("dry/text.png") },
    { custom_id: "changed", image: at("dry/1.png"), etag: "other" },
    { custom_id: "elsewhere", image: `s3://${serviceBucket}/1.png` },
    { custom_id: "list", images: [at("dry/1.png"), at("dry/none.png")] },
    { custom_id: "fine", image: at("dry/1.png") },
    { custom_id: "typo", image: at("dry/1.png"), qestion: "?" },
  ];
  await put("dry.jsonl", lines.map(jsonLine).join(""));
  const { id } = await service.submit({ input: at("dry.jsonl"), output: at("dry-output/"), dry_run: true });
  const batch = await service.ended(id);
  expect(batch).toMatchObject({
    status: "completed",
    dry_run: true,
    results: null,
    delivery: null,
    request_counts: { total: 0, completed: 0, failed: 0 },
  });
  const size = plainImage(1).length;
  expect(await service.client.batches.report(id)).toEqual({
    object: "batch.report",
    batch_id: id,
    lines: 8,
    items: 5,
    refused: 3,
    would_fail: true,
    errors: [
      { code: "bucket_not_allowed", message: expect.any(String), param: "image", line: 5 },
      { code: "duplicate_custom_id", message: expect.any(String), param: "custom_id", line: 7 },
      { code: "invalid_line", message: expect.any(String), param: "qestion", line: 8 },
    ],
    more_errors: 0,
    codes: { bucket_not_allowed: 1, duplicate_custom_id: 1, invalid_line: 1 },
    sample: {
      images: 5,
      found: 3,
      mean_bytes: (2 * size + "no image".length) / 3,
      decoded: 2,
      problems: [
        { custom_id: "missing", image: at("dry/none.png"), code: "image_not_found", message: expect.any(String) },
        { custom_id: "text", image: at("dry/text.png"), code: "image_unsupported", message: expect.any(String) },
        { custom_id: "changed", image: at("dry/1.png"), code: "image_changed", message: expect.any(String) },
      ],
    },
    estimate: { image_bytes: expect.closeTo((5 / 3) * (2 * size + "no image".length), 0), items_per_second: null, seconds: null },
  });
  await wholeBatch(service, id, []);
  expect(await keysBelow(customerBucket, "dry-output/")).toEqual([]);
  const plan = (await service.queue.batch(id))?.plan ?? "";
  expect(await keysBelow(serviceBucket, batchKeys(id).plan(plan).folderPrefix)).toEqual(["plan.json", "report.json"]);
});

it("tells how long, once the model has run, and looks at a sample of many", async () => {
  const { input, customIds } = await service.writeManifest("many", 300);
  service.gate.hold(1);
  const { id } = await service.submit({ input });
  // One item is done, and the others wait: until that is known to be slow.
  const rate = async () => (await service.queue.liveModels())[0]?.itemsPerSecond ?? 0;
  await until("a rate", rate, (known) => known > 0);
  service.gate.open();
  await service.ended(id);
  await wholeBatch(service, id, customIds);
  const { id: dry } = await service.submit({ input, dry_run: true });
  await service.ended(dry);
  const { items, would_fail, sample, estimate } = await service.client.batches.report(dry);
  expect({ items, would_fail }).toEqual({ items: 300, would_fail: false });
  // Every fourth of 300.
  expect(sample).toMatchObject({ images: 75, found: 75, decoded: 8, problems: [] });
  expect(estimate.seconds).toBe(Math.ceil(300 / (estimate.items_per_second ?? 0)));
});

it("fails over what fails any batch, after the lines before it", async () => {
  await put("open.csv", `custom_id,image\nonly one\na,"${at("dry/1.png")}\n`);
  const { id } = await service.submit({ input: at("open.csv"), dry_run: true });
  const batch = await service.ended(id);
  expect(batch.status).toBe("failed");
  expect(batch.errors?.data.map(({ code }) => code)).toEqual(["ragged_row", "manifest_unreadable"]);
  await expect(service.client.batches.report(id)).rejects.toMatchObject({ code: "conflict" });
});

it("is the only kind of batch with a report", async () => {
  const { input } = await service.writeManifest("wet", 1);
  const { id } = await service.submit({ input });
  await service.ended(id);
  await expect(service.client.batches.report(id)).rejects.toMatchObject({ code: "not_found" });
});
