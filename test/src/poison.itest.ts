/**
 * Bytes that end every process that touches them: an item's image (its item is quarantined after three deaths over it alone, and everybody else gets their answer),
 * a support image and a manifest (their batch fails, with the reason, and no other).
 */
import { createHash } from "node:crypto";
import { plainImage } from "@flamboyance/dev/plain-image";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { openAsks, type Asks } from "./chaos/asks.ts";
import { codesOf, customerBucket, startService, wholeBatch, type Service } from "./testing/service.ts";

const { signal } = new AbortController();
let asks: Asks;
let service: Service;
/** Reading this object ends whoever is alive. */
let poisonKey: string | null = null;
let deaths = 0;
let replacing: Promise<unknown> = Promise.resolve();
/** There is one worker at a time. */
function die(pid: number): void {
  deaths += 1;
  service.workers.find((worker) => worker.pid === pid)?.kill("SIGKILL");
  replacing = replacing.then(() => service.addWorker());
}
beforeAll(async () => {
  asks = await openAsks();
  const faults: NonNullable<NonNullable<Parameters<typeof startService>[0]>["faults"]>["faults"] = ({ method, key }) => {
    if (method !== "GET" || key !== poisonKey) return null;
    die(service.workers.at(-1)?.pid ?? 0);
    return { kind: "silence" };
  };
  service = await startService({ environment: { FLAMBOYANCE_FAILPOINTS: asks.stepUrl }, faults: { faults } });
});
afterAll(async () => {
  asks.hear(null);
  await service.close();
  await asks.close();
});
beforeEach(() => {
  deaths = 0;
  poisonKey = null;
});

/** Decoding this image ends the process. */
function poisonImage(image: Uint8Array): void {
  const poison = createHash("sha256").update(image).digest("hex");
  asks.hear({
    step: () => Promise.resolve(),
    row: () => Promise.resolve(),
    image: async (sha256, pid) => {
      if (sha256 !== poison) return;
      die(pid);
      // The dead aren't answered.
      await new Promise(() => {});
    },
  });
}

const ended = (id: string) => service.client.batches.wait(id, { intervalMs: 100, signal: AbortSignal.timeout(170_000) });

it("an item that kills its worker is quarantined at the third death over it alone, and nobody beside it", async () => {
  poisonImage(plainImage(5));
  const { input, customIds } = await service.writeManifest("poisoned", 20);
  const { id } = await service.submit({ input });
  expect((await ended(id)).status).toBe("completed");
  await replacing;
  const lines = await wholeBatch(service, id, customIds);
  expect(codesOf(lines)).toEqual(customIds.map((_, item) => (item === 5 ? "poison_item" : "ok")));
  // The first, of a chunk that nobody suspected, and three of its noted item.
  expect(deaths).toBe(4);
}, 180_000);

it("a support image that kills its planner fails its batch at the third death over it alone, and no batch beside it", async () => {
  poisonImage(plainImage(77));
  await service.storage.write({ bucket: customerBucket, key: "example.png" }, plainImage(77), { contentType: "image/png", signal });
  await service.storage.write({ bucket: customerBucket, key: "good.png" }, plainImage(78), { contentType: "image/png", signal });
  const { input, customIds } = await service.writeManifest("shown", 20);
  const examples = ["good.png", "example.png"].map((image) => ({ image: `s3://${customerBucket}/${image}`, text: "an example" }));
  const poisoned = await service.submit({ input, examples });
  const innocent = await service.submit({ input, examples: examples.slice(0, 1) });
  const failed = await ended(poisoned.id);
  expect(failed.status).toBe("failed");
  const message = `s3://${customerBucket}/example.png: the worker's process died three times while it decoded this image alone (poison_item)`;
  expect(failed.errors?.data).toEqual([{ code: "bad_example", message, param: "examples[1].image", line: null }]);
  expect((await ended(innocent.id)).status).toBe("completed");
  await replacing;
  await wholeBatch(service, innocent.id, customIds);
  // The first, of a plan that nobody suspected, and three over the noted image.
  expect(deaths).toBe(4);
}, 180_000);

it("a manifest that kills its planner fails its batch alike", async () => {
  const { input } = await service.writeManifest("deadly", 3);
  const other = await service.writeManifest("harmless", 3);
  poisonKey = "deadly.jsonl";
  const poisoned = await service.submit({ input });
  const innocent = await service.submit({ input: other.input });
  const failed = await ended(poisoned.id);
  expect(failed.status).toBe("failed");
  expect(failed.errors?.data).toMatchObject([{ code: "poison_manifest", param: null, line: null }]);
  expect((await ended(innocent.id)).status).toBe("completed");
  await replacing;
  expect(deaths).toBe(4);
}, 180_000);
