/** A retry from end to end: what failed runs again by the plan that it ran by, whatever became of the dataset, and reads as one with what was done. */
import { plainImage } from "@flamboyance/dev/plain-image";
import { jsonLine } from "@flamboyance/storage";
import { afterAll, beforeAll, expect, it } from "vitest";
import { codesOf, customerBucket, linesOf, startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());
const signal = AbortSignal.timeout(300_000);
const put = (key: string, bytes: Uint8Array | string) =>
  service.storage.write({ bucket: customerBucket, key }, bytes, { contentType: "application/octet-stream", signal });
const remove = (...keys: string[]) =>
  service.storage.remove(
    keys.map((key) => ({ bucket: customerBucket, key })),
    { signal },
  );
const at = (key: string) => `s3://${customerBucket}/${key}`;

async function merged(id: string) {
  const lines = [];
  for await (const line of service.client.batches.results(id, { lineage: true })) lines.push(line);
  return lines;
}

it("runs what failed once more, with the numbers and the prompts that it had", async () => {
  for (let item = 0; item < 12; item++) if (item % 4 !== 3) await put(`retry/${item}.png`, plainImage(item));
  await put("retry/5.png", "no image");
  await put("retry/example.png", plainImage(99));
  const lines = Array.from({ length: 12 }, (_, item) => jsonLine({ custom_id: `item ${item}`, image: at(`retry/${item}.png`) }));
  // Refused, in the middle: it has its line in the results, and is no item.
  lines.splice(6, 0, "{half\n");
  await put("retry.jsonl", lines.join(""));
  const { id } = await service.submit({
    input: at("retry.jsonl"),
    on_invalid: "skip",
    output: at("out/"),
    examples: [{ image: at("retry/example.png"), text: "an example" }],
  });
  await service.ended(id);
  const customIds = [0, 1, 2, 3, 4, 5].map((item) => `item ${item}`);
  const rest = [6, 7, 8, 9, 10, 11].map((item) => `item ${item}`);
  const first = await wholeBatch(service, id, [...customIds, null, ...rest]);
  expect(codesOf(first)).toEqual([
    "ok",
    "ok",
    "ok",
    "image_not_found",
    "ok",
    "image_unsupported",
    "invalid_json_line",
    "ok",
    "image_not_found",
    "ok",
    "ok",
    "ok",
    "image_not_found",
  ]);
  expect(await service.client.batches.errors(id)).toMatchObject([
    { code: "image_not_found", count: 3 },
    { code: "image_unsupported", count: 1 },
    { code: "invalid_json_line", count: 1 },
  ]);

  // Manifest and example are gone by now; two of the images came.
  await remove("retry.jsonl", "retry/example.png");
  for (const item of [3, 7]) await put(`retry/${item}.png`, plainImage(item));
  const again = await service.client.batches.retry(id, { errorCodes: ["image_not_found"] });
  expect((await service.ended(again.id)).status).toBe("completed");
  const second = await wholeBatch(service, again.id, ["item 3", "item 7", "item 11"]);
  expect(codesOf(second)).toEqual(["ok", "ok", "image_not_found"]);
  expect(second.map((line) => line.id.replace(/^.*-/, ""))).toEqual(["3", "7", "11"]);
  // The same words stand before the query.
  const cached = [first[0], second[0]].map((line) =>
    line?.response !== null && line?.response !== undefined && "usage" in line.response.body
      ? line.response.body.usage.prompt_tokens_details.cached_tokens
      : 0,
  );
  expect(cached).toEqual([1, 1]);

  await put("retry/11.png", plainImage(11));
  const last = await service.client.batches.retry(id);
  expect(last.retry_of).toBe(again.id);
  await service.ended(last.id);
  const third = await wholeBatch(service, last.id, ["item 5", "item 11"]);
  expect(codesOf(third)).toEqual(["image_unsupported", "ok"]);

  const newest = first.map(
    (line) =>
      third.find((other) => other.custom_id === line.custom_id) ?? second.find((other) => other.custom_id === line.custom_id) ?? line,
  );
  expect(await merged(again.id)).toEqual(newest);
  expect(await service.client.batches.errors(again.id, { lineage: true })).toMatchObject([
    { code: "image_unsupported", count: 1 },
    { code: "invalid_json_line", count: 1 },
  ]);
  // What ended stays as it was, delivered too.
  expect(await wholeBatch(service, id, [...customIds, null, ...rest])).toEqual(first);
  expect(await linesOf(service, at("out/errors.jsonl"))).toHaveLength(5);
});

it("of a cancelled batch runs what never ran", async () => {
  const { input, customIds } = await service.writeManifest("half", 40);
  service.gate.hold(3);
  const { id } = await service.submit({ input });
  await until(
    "rows in the engine",
    () => service.gate.waiting().length,
    (waiting) => waiting > 0,
  );
  await service.client.batches.cancel(id);
  service.gate.open();
  expect((await service.ended(id)).status).toBe("cancelled");
  const first = await wholeBatch(service, id, customIds);
  const neverRan = first.filter((line) => line.error?.code === "batch_cancelled").map(({ custom_id }) => custom_id);
  expect(neverRan.length).toBeGreaterThan(10);
  expect((await service.client.batches.get(id)).never_ran).toBe(neverRan.length);
  const again = await service.client.batches.retry(id, { errorCodes: ["batch_cancelled"] });
  expect((await service.ended(again.id)).status).toBe("completed");
  await wholeBatch(service, again.id, neverRan);
  const all = await merged(id);
  expect(all.map(({ custom_id }) => custom_id)).toEqual(customIds);
  expect(new Set(codesOf(all))).toEqual(new Set(["ok"]));
});

it("that is cancelled itself has the lines of its items, by their numbers", async () => {
  await put(
    "cut.jsonl",
    Array.from({ length: 9 }, (_, item) => jsonLine({ custom_id: `cut ${item}`, image: at(`cut/${item % 2}.png`) })).join(""),
  );
  await put("cut/0.png", plainImage(1));
  const { id } = await service.submit({ input: at("cut.jsonl") });
  await service.ended(id);
  await put("cut/1.png", plainImage(2));
  service.gate.hold();
  const again = await service.client.batches.retry(id);
  await until(
    "rows in the engine",
    () => service.gate.waiting().length,
    (waiting) => waiting > 0,
  );
  await service.client.batches.cancel(again.id);
  expect((await service.ended(again.id)).status).toBe("cancelled");
  service.gate.open();
  const lines = await wholeBatch(service, again.id, ["cut 1", "cut 3", "cut 5", "cut 7"]);
  expect(lines.map((line) => line.id.replace(/^.*-/, ""))).toEqual(["1", "3", "5", "7"]);
  expect(codesOf(await merged(id))).toEqual([
    "ok",
    "batch_cancelled",
    "ok",
    "batch_cancelled",
    "ok",
    "batch_cancelled",
    "ok",
    "batch_cancelled",
    "ok",
  ]);
});
