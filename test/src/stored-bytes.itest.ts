/** A tenant's quota of stored bytes through the real service: what is counted is what lies in S3, whatever becomes of Redis, until it is deleted. */
import { createClient, type Client } from "@flamboyance/client";
import { end as endSchema } from "@flamboyance/contracts";
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { serviceBucket } from "@flamboyance/dev/system";
import { eraseQueue } from "@flamboyance/queue";
import { batchKeys, readJson } from "@flamboyance/storage";
import { afterAll, beforeAll, expect, it } from "vitest";
import { customerBucket, startService, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

const { signal } = new AbortController();
let service: Service;
let tenant: Client;
let allow: (storedBytes: number) => Promise<unknown>;
beforeAll(async () => {
  service = await startService();
  const admin = createClient({ baseUrl: service.apiUrl, apiKey: service.adminKey });
  allow = (stored_bytes) => admin.tenants.put("birds", { read: [customerBucket], quotas: { stored_bytes } });
  await allow(1_000_000);
  tenant = createClient({ baseUrl: service.apiUrl, apiKey: (await admin.keys.create({ tenant: "birds" })).key });
});
afterAll(() => service.close());

/** What lies there of the batch's plan and results, but for plan.json. */
async function bytesOf(id: string): Promise<number> {
  const { planPrefix, finalPrefix } = batchKeys(id);
  let sum = 0;
  for (const key of [planPrefix, finalPrefix])
    for await (const object of service.storage.list({ bucket: serviceBucket, key }, { signal }))
      if (!object.key.endsWith("/plan.json")) sum += object.sizeBytes;
  return sum;
}

it("counts what lies there, fails a plan that doesn't fit, refuses a submit, and outlives a Redis", async () => {
  const { input } = await service.writeManifest("stored", 6);
  const examples = [{ image: `s3://${customerBucket}/stored/0.png`, text: "a square" }];
  const submit = () =>
    tenant.batches.create({ model: noOpModelName, task: "caption", input, examples, result_formats: ["csv", "parquet"], reuse: true });
  const ended = (id: string) => tenant.batches.wait(id, { intervalMs: 50, signal: AbortSignal.timeout(50_000) });
  const { id } = await submit();
  expect((await ended(id)).status).toBe("completed");
  const kept = await bytesOf(id);
  expect((await readJson(service.storage, { bucket: serviceBucket, key: batchKeys(id).end }, endSchema, signal))?.stored_bytes).toBe(kept);

  // Room for one byte: only its plan tells that it brings more.
  await allow(kept + 1);
  const { id: tooMuch } = await submit();
  const failed = await ended(tooMuch);
  expect(failed).toMatchObject({ status: "failed", results: null });
  expect(failed.errors?.data).toMatchObject([
    {
      code: "quota_exceeded",
      message: expect.stringMatching(`bytes and the ${kept} that your batches keep are more than the ${kept + 1}`),
    },
  ]);

  await allow(kept);
  const refused = { status: 429, code: "quota_exceeded", message: expect.stringContaining(`Your batches keep ${kept} bytes`) };
  await expect(submit()).rejects.toMatchObject(refused);

  await eraseQueue(service.redis);
  await until(
    "the ended batch to count again",
    () => service.queue.admit({ tenant: "birds", id: "batch_none", quotas: { stored_bytes: kept } }).catch(() => null),
    (answer) => answer?.kind === "over",
  );
  await expect(submit()).rejects.toMatchObject(refused);

  await tenant.batches.delete(id);
  expect((await ended((await submit()).id)).status).toBe("completed");
});
