/** A worker dies at each step of a batch's life, just before the step's object stands in S3; the next worker takes the batch up there and brings it to its end. */
import { batchRequest } from "@flamboyance/contracts";
import { startTestServer } from "@flamboyance/dev/s3";
import { serviceBucket } from "@flamboyance/dev/system";
import { newUlid } from "@flamboyance/queue";
import { batchKeys } from "@flamboyance/storage";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { codesOf, startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

let service: Service;
/** Writes of keys that match never get an answer; how many came is counted. */
const silence = { keys: null as RegExp | null, met: 0 };
beforeAll(async () => {
  const faults = ({ method, key }: { method: string; key: string }) => {
    if ((method !== "PUT" && method !== "POST") || silence.keys?.test(key) !== true) return null;
    silence.met += 1;
    return { kind: "silence" } as const;
  };
  service = await startService({ s3: await startTestServer({ faults }) });
});
afterEach(() => void (silence.keys = null));
afterAll(() => service.close());

it.each([
  ["the plan is whole", /\/plan\.json$/],
  ["a part", /\/parts\//],
  ["the seal", /\/seals\//],
  ["the results", /\/final\/.*\/output\.jsonl$/],
  ["the end", /\/end\.json$/],
  ["what follows the end", /\/after\.json$/],
])("a batch outlives its worker's death before %s", async (name, keys) => {
  const { input, customIds } = await service.writeManifest(name.replaceAll(" ", "-"), 12);
  Object.assign(silence, { keys, met: 0 });
  const { id } = await service.submit({ input });
  await until(
    "the step",
    () => silence.met,
    (met) => met > 0,
  );
  const worker = service.workers.at(-1);
  worker?.kill("SIGKILL");
  await worker?.exited;
  silence.keys = null;
  await service.addWorker();
  expect((await service.ended(id)).status).toBe("completed");
  expect(new Set(codesOf(await wholeBatch(service, id, customIds)))).toEqual(new Set(["ok"]));
});

it("a submit that broke off before its record goes on by itself", async () => {
  const { input, customIds } = await service.writeManifest("broken-off", 8);
  const { id: whole } = await service.submit({ input });
  await service.ended(whole);
  // What the api leaves behind when it dies after the marker: the request and the marker, under an id that Redis doesn't know.
  const id = `batch_${newUlid()}`;
  const { bytes } = await service.storage.read(
    { bucket: serviceBucket, key: batchKeys(whole).request },
    { signal: AbortSignal.timeout(30_000) },
  );
  const request = { ...batchRequest.parse(JSON.parse(Buffer.from(bytes).toString())), id, idempotency_key: null };
  await put(batchKeys(id).request, JSON.stringify(request));
  await put(batchKeys(id).marker, "");
  await until(
    "the record",
    () => service.queue.batch(id),
    (record) => record !== null,
  );
  expect((await service.ended(id)).status).toBe("completed");
  await wholeBatch(service, id, customIds);
});

it("a marker that was left behind goes", async () => {
  const { input, customIds } = await service.writeManifest("left-behind", 4);
  const { id } = await service.submit({ input });
  await service.ended(id);
  await wholeBatch(service, id, customIds);
  await put(batchKeys(id).marker, "");
  await wholeBatch(service, id, customIds);
});

async function put(key: string, text: string): Promise<void> {
  await service.storage.write({ bucket: serviceBucket, key }, text, {
    contentType: "application/json",
    signal: AbortSignal.timeout(30_000),
  });
}
