/** Ended batches go when their owner says so, or when their time is over: at once for readers, then every byte, also those that come late. */
import { serviceBucket } from "@flamboyance/dev/system";
import { newUlid } from "@flamboyance/queue";
import { batchKeys } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

let service: Service;
const { signal } = new AbortController();

async function objectsOf(id: string): Promise<string[]> {
  const { folderPrefix, marker } = batchKeys(id);
  const found: string[] = [];
  for (const prefix of [folderPrefix, marker])
    for await (const { key } of service.storage.list({ bucket: serviceBucket, key: prefix }, { signal })) found.push(key);
  return found;
}
const listed = async () => (await Array.fromAsync(service.client.batches.all())).map(({ id }) => id);
const notFound = { code: "not_found", status: 404 };

describe("a delete", () => {
  beforeAll(async () => {
    service = await startService({ environment: { FLAMBOYANCE_SWEEP_SECONDS: "4" } });
  });

  afterAll(() => service.close());

  it("takes an ended batch away for good, what a stalled process writes later too, and leaves others alone", async () => {
    const { input, customIds } = await service.writeManifest("deleted", 5);
    const [{ id }, { id: other }] = [await service.submit({ input }), await service.submit({ input, output: "s3://customer/kept/" })];
    for (const each of [id, other]) await service.ended(each);
    await wholeBatch(service, id, customIds);
    const expected = await wholeBatch(service, other, customIds);

    expect(await service.client.batches.delete(id)).toEqual({ id, object: "batch", deleted: true });
    // A client that got no answer asks again.
    expect(await service.client.batches.delete(id)).toEqual({ id, object: "batch", deleted: true });
    await expect(service.client.batches.get(id)).rejects.toMatchObject(notFound);
    await expect(service.client.batches.resultsPage(id)).rejects.toMatchObject(notFound);
    expect(await listed()).toEqual([other]);
    await until(
      "all but the decision to go",
      () => objectsOf(id),
      (keys) => keys.length <= 1,
    );

    // Late, from a worker that slept: gone with the decision.
    const late = batchKeys(id).part(newUlid(), 0, newUlid(), false);
    await service.storage.write({ bucket: serviceBucket, key: late }, "{}", { contentType: "application/json", signal });
    await until(
      "everything to go",
      () => objectsOf(id),
      (keys) => keys.length === 0,
    );
    await expect(service.client.batches.delete(id)).rejects.toMatchObject(notFound);
    expect(await wholeBatch(service, other, customIds)).toEqual(expected);
  });

  it("is refused while the batch runs", async () => {
    const { input, customIds } = await service.writeManifest("busy", 3);
    service.gate.hold();
    const { id } = await service.submit({ input });
    await until(
      "a row",
      () => service.gate.waiting().length,
      (rows) => rows > 0,
    );
    await expect(service.client.batches.delete(id)).rejects.toMatchObject({ code: "conflict", status: 409 });
    service.gate.open();
    await service.ended(id);
    await wholeBatch(service, id, customIds);
  });

  it("that broke off after its decision is finished by the sweep", async () => {
    const { input, customIds } = await service.writeManifest("broken", 2);
    const { id } = await service.submit({ input });
    await service.ended(id);
    await wholeBatch(service, id, customIds);
    const tenant = (await service.queue.batch(id))?.tenant;
    await service.queue.startDelete({ id });
    const decided = JSON.stringify({ tenant, deleted_at: 1, because: "asked" });
    await service.storage.write({ bucket: serviceBucket, key: batchKeys(id).deleted }, decided, {
      contentType: "application/json",
      signal,
    });
    await until(
      "everything to go",
      () => objectsOf(id),
      (keys) => keys.length === 0,
    );
    await expect(service.client.batches.get(id)).rejects.toMatchObject(notFound);
  });
});

describe("retention", () => {
  beforeAll(async () => {
    // Three seconds.
    service = await startService({ environment: { FLAMBOYANCE_RETENTION_DAYS: String(3 / 86_400), FLAMBOYANCE_SWEEP_SECONDS: "2" } });
  });

  afterAll(() => service.close());

  it("deletes what ended too long ago", async () => {
    const { input } = await service.writeManifest("short", 2);
    const { id } = await service.submit({ input });
    await until(
      "everything to go",
      async () => [...(await listed()), ...(await objectsOf(id))],
      (found) => found.length === 0,
    );
    await expect(service.client.batches.get(id)).rejects.toMatchObject(notFound);
  });
});
