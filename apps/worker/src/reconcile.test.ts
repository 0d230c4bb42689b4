import { CodedError } from "@flamboyance/contracts";
import type { Lease, Queue } from "@flamboyance/queue";
import type { Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { openLog } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { openReconciler } from "./reconcile.ts";
import { requestOf } from "./testing/request.ts";

/** Redis and S3 as far as one round goes: open batches without a frontier to move, markers without a record. What was done to which batch is noted. */
function round({
  open = [],
  markers = {},
  fail,
}: {
  open?: string[];
  markers?: Record<string, string>;
  fail?: (id: string) => Error | null;
}) {
  const done: string[] = [];
  const lease: Lease = { name: "reconcile", renew: () => Promise.resolve(true), release: () => Promise.resolve() };
  const queue: Partial<Queue> = {
    lease: () => Promise.resolve(lease),
    async *openBatches() {
      yield* open;
    },
    repair: (id) => {
      const error = fail?.(id) ?? null;
      if (error !== null) return Promise.reject(error);
      done.push(`repaired ${id}`);
      return Promise.resolve([]);
    },
    batch: () => Promise.resolve(null),
    submit: ({ id }) => {
      done.push(`submitted ${id}`);
      return Promise.resolve("created");
    },
    promoteDelayed: () => {
      done.push("promoted");
      return Promise.resolve(0);
    },
    models: () => Promise.resolve(["k"]),
    sweepable: () => Promise.resolve([]),
    relistAfter: () => Promise.resolve(null),
    dispatch: (model) => {
      done.push(`dispatched ${model}`);
      return Promise.resolve(0);
    },
  };
  const listed = (key: string) => ({ key, sizeBytes: 1, etag: "", lastModified: new Date(0) });
  const storage: Partial<Storage> = {
    async *list({ key }) {
      for (const id of Object.keys(markers)) {
        const found = key === "open/" ? `open/${id}` : `batches/${id}/batch.json`;
        if (found.startsWith(key)) yield listed(found);
      }
    },
    describe: () => Promise.resolve(null),
    read: ({ key }) =>
      Promise.resolve({ bytes: Buffer.from(markers[key.split("/")[1] ?? ""] ?? ""), etag: "", contentType: "application/json" }),
  };
  const reconciler = openReconciler({
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a round uses
    queue: queue as Queue,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a round uses
    storage: storage as Storage,
    serviceBucket: "service",
    metrics: createMetrics(() => Promise.resolve([])),
    log: openLog({ level: "silent", worker: "w" }),
    leaseMs: 1_000,
    rebuildLeaseMs: 1_000,
    sweepMs: 1_000,
    keptMs: null,
  });
  return { done, ran: reconciler.round(new AbortController().signal) };
}

it("looks after every other batch where one can't be read", async () => {
  const { done, ran } = round({ open: ["a", "b", "c"], fail: (id) => (id === "b" ? new TypeError("a record of another version") : null) });
  await ran;
  expect(done).toEqual(["promoted", "repaired a", "repaired c", "dispatched k"]);
});

it("takes up every other submit that broke off where one's request can't be read", async () => {
  const { done, ran } = round({ markers: { a: "no JSON", b: JSON.stringify(requestOf({ id: "b" })) } });
  await ran;
  expect(done).toEqual(["promoted", "submitted b", "dispatched k"]);
});

it("ends the round where Redis is away", async () => {
  const { done, ran } = round({ open: ["a", "b"], fail: () => new CodedError("service_unavailable", "Redis doesn't answer.") });
  await expect(ran).rejects.toMatchObject({ code: "service_unavailable" });
  expect(done).toEqual(["promoted"]);
});
