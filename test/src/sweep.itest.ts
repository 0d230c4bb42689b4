/** What an ended batch left behind goes, and nothing else; what a stalled process writes afterwards goes later. */
import { serviceBucket } from "@flamboyance/dev/system";
import { newUlid } from "@flamboyance/queue";
import { batchKeys } from "@flamboyance/storage";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ environment: { FLAMBOYANCE_SWEEP_SECONDS: "4" } });
});
afterAll(() => service.close());

async function keysOf(id: string): Promise<string[]> {
  const found: string[] = [];
  const { folderPrefix } = batchKeys(id);
  const listed = service.storage.list({ bucket: serviceBucket, key: folderPrefix }, { signal: AbortSignal.timeout(30_000) });
  for await (const { key } of listed) found.push(key.slice(folderPrefix.length));
  return found;
}

async function put(key: string): Promise<void> {
  await service.storage.write({ bucket: serviceBucket, key }, "", { contentType: "text/plain", signal: AbortSignal.timeout(30_000) });
}

it("losers' objects, parts and frontiers of an ended batch go, also those that come late; its results are read as before", async () => {
  const { input, customIds } = await service.writeManifest("swept", 12);
  service.gate.hold(8);
  const { id } = await service.submit({ input });
  await until(
    "rows in the engine",
    () => service.gate.waiting().length,
    (rows) => rows > 0,
  );
  const keys = batchKeys(id);
  const loser = newUlid();
  const late = keys.part(loser, 1, newUlid(), false);
  const losers = [keys.plan(loser).items, keys.part(loser, 0, newUlid(), false), keys.seal(1, loser), keys.final(loser).output];
  for (const key of losers) await put(key);
  service.gate.open();
  await service.ended(id);
  const before = await wholeBatch(service, id, customIds);

  const seal = (await service.queue.batch(id))?.seal ?? "";
  const swept = (found: string[]) => !found.some((key) => /^(parts|frontier)\//.test(key) || key.includes(loser));
  const left = await until("the sweep", () => keysOf(id), swept);
  const plan = (await service.queue.batch(id))?.plan ?? "";
  expect(left.map((key) => key.replace(/^seals\/\d+-/, "seals/"))).toEqual(
    [
      "after.json",
      "batch.json",
      "end.json",
      ...["errors.jsonl", "output.jsonl", "summary.json"].map((name) => `final/${seal}/${name}`),
      ...["errors.jsonl", "index", "items.jsonl", "plan.json"].map((name) => `plan/${plan}/${name}`),
      `seals/${seal}.json`,
    ].toSorted(),
  );
  await put(late);
  await until("the later look", () => keysOf(id), swept);
  expect(await keysOf(id)).toEqual(left);
  expect(await wholeBatch(service, id, customIds)).toEqual(before);
});
