import type { Queue } from "@flamboyance/queue";
import type { Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { deleteKeptTooLong } from "./retention.ts";

it("goes by Redis's clock, however wrong this process's is", async () => {
  const asked: unknown[] = [];
  const queue: Partial<Queue> = {
    now: () => Promise.resolve(5_000),
    keptTooLong: (limits) => {
      asked.push(limits);
      return Promise.resolve([]);
    },
  };
  const { signal } = new AbortController();
  const alone = (_id: string, work: () => Promise<void>) => work();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a look without a finding uses
  const given = { queue: queue as Queue, storage: {} as Storage, serviceBucket: "service" };
  await deleteKeptTooLong(given, { keptMs: 600_000, alone }, signal);
  expect(asked).toEqual([expect.objectContaining({ beforeSeconds: 4_400 })]);
});
