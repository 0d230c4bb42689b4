/** An image that ends every process that decodes it: its item is quarantined after three deaths over it alone, and everybody else gets their answer. */
import { createHash } from "node:crypto";
import { plainImage } from "@flamboyance/dev/plain-image";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openAsks, type Asks } from "./chaos/asks.ts";
import { codesOf, startService, wholeBatch, type Service } from "./testing/service.ts";

let asks: Asks;
let service: Service;
beforeAll(async () => {
  asks = await openAsks();
  service = await startService({ environment: { FLAMBOYANCE_FAILPOINTS: asks.stepUrl } });
});
afterAll(async () => {
  asks.hear(null);
  await service.close();
  await asks.close();
});

it("an item that kills its worker is quarantined at the third death over it alone, and nobody beside it", async () => {
  const poison = createHash("sha256").update(plainImage(5)).digest("hex");
  let deaths = 0;
  let replacing: Promise<unknown> = Promise.resolve();
  asks.hear({
    step: () => Promise.resolve(),
    row: () => Promise.resolve(),
    image: async (sha256, pid) => {
      if (sha256 !== poison) return;
      deaths += 1;
      service.workers.find((worker) => worker.pid === pid)?.kill("SIGKILL");
      replacing = replacing.then(() => service.addWorker());
      // The dead aren't answered.
      await new Promise(() => {});
    },
  });
  const { input, customIds } = await service.writeManifest("poisoned", 20);
  const { id } = await service.submit({ input });
  const ended = await service.client.batches.wait(id, { intervalMs: 100, signal: AbortSignal.timeout(170_000) });
  expect(ended.status).toBe("completed");
  await replacing;
  const lines = await wholeBatch(service, id, customIds);
  expect(codesOf(lines)).toEqual(customIds.map((_, item) => (item === 5 ? "poison_item" : "ok")));
  // The first, of a chunk that nobody suspected, and three of its noted item.
  expect(deaths).toBe(4);
}, 180_000);
