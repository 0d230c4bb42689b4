import type { BatchRecord, Queue } from "@flamboyance/queue";
import type { Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { controlBatch } from "./control.ts";

it("refuses a deadline that has passed by Redis's clock, before it takes a number", async () => {
  const now = 4_000_000_000;
  // Without a number nothing stands in the control log: a batch that is rebuilt from it won't expire.
  const taken: string[] = [];
  const queue: Partial<Queue> = {
    now: () => Promise.resolve(now),
    takeNumber: ({ id }) => {
      taken.push(id);
      return Promise.resolve({ kind: "gone" });
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a control begins with
  const given = { queue: queue as Queue, storage: {} as Storage, bucket: "service" };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what a control looks at
  const record = { id: "batch_1", status: "in_progress", createdAt: now - 3_600 } as BatchRecord;
  const { signal } = new AbortController();
  const setDeadline = (completion_window: `${number}m`) => controlBatch(given, { kind: "deadline", completion_window }, record, signal);
  await expect(setDeadline("60m")).rejects.toMatchObject({ code: "invalid_request", param: "completion_window" });
  expect(taken).toEqual([]);
  await expect(setDeadline("61m")).rejects.toMatchObject({ code: "service_unavailable" });
  expect(taken).toEqual(["batch_1"]);
});
