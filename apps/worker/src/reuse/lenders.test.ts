import { CodedError } from "@flamboyance/contracts";
import { lenderKey, recipePrefix, type Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { createMetrics } from "../metrics.ts";
import { requestOf } from "../testing/request.ts";
import { recipeOf } from "./answer-key.ts";
import { openLenders } from "./lenders.ts";

const { signal } = new AbortController();
const request = requestOf({ id: "batch_9", reuse: true });
const recipe = recipeOf(request, "p");
const asked = { customId: "a", images: [{ sha256: "1" }], prompt: "p" };

/** Over an S3 where these objects are there and whose reads end so. */
function open(keys: readonly string[], read: Storage["read"]) {
  const listed: string[] = [];
  const removed: string[] = [];
  const storage: Partial<Storage> = {
    async *list({ key }) {
      listed.push(key);
      for (const each of keys) yield { key: each, sizeBytes: 0, etag: "", lastModified: new Date(0) };
    },
    read,
    describe: () => Promise.resolve(null),
    remove: (locations) => {
      for (const { key } of locations) removed.push(key);
      return Promise.resolve();
    },
  };
  const metrics = createMetrics(() => Promise.resolve([]));
  const lenders = openLenders({ storage: storage as Storage, bucket: "service", metrics, maxBytes: 1e6, signal });
  const counted = async () => (await metrics.registry.metrics()).match(/^flamboyance_reuse_lookups_total.*$/gm);
  return { lenders, listed, removed, counted };
}

const pointers = Array.from({ length: 70 }, (_, at) => lenderKey(recipe, requestOf({ id: `batch_${at}`, created_at: 100 - at })));

it("asks the newest batches of the tenant with the same recipe, few enough, and never itself", async () => {
  const read: string[] = [];
  const { lenders, listed } = open(pointers, ({ key }) => {
    read.push(key);
    return Promise.reject(new CodedError("storage_not_found", key));
  });
  await lenders.open({ request, prefixHash: "p" }, signal);
  expect(pointers).toEqual(pointers.toSorted());
  expect(listed).toEqual([recipePrefix(request.tenant, recipe)]);
  expect(read.length).toBe(32);
  expect(read).not.toContain("batches/batch_9/end.json");
});

it("finds nothing where S3 is away or holds what isn't ours, and says so", async () => {
  for (const read of [
    () => Promise.reject(new CodedError("storage_unavailable", "503")),
    () => Promise.resolve({ bytes: Buffer.from("{}"), etag: "", contentType: null }),
  ]) {
    const { lenders, counted } = open(pointers.slice(0, 1), read);
    const earlier = await lenders.open({ request, prefixHash: "p" }, signal);
    expect(await earlier?.find(asked, signal)).toBeNull();
    expect(await counted()).toEqual([
      'flamboyance_reuse_lookups_total{result="hit"} 0',
      'flamboyance_reuse_lookups_total{result="miss"} 1',
      'flamboyance_reuse_lookups_total{result="fault"} 1',
    ]);
  }
});

it("takes the name of a batch away that isn't there any more", async () => {
  const { lenders, removed } = open(pointers.slice(0, 1), ({ key }) => Promise.reject(new CodedError("storage_not_found", key)));
  await lenders.open({ request, prefixHash: "p" }, signal);
  expect(removed).toEqual(pointers.slice(0, 1));
});

it("is given up with the chunk, and never asked by a batch that doesn't want it", async () => {
  const { lenders, listed } = open([], () => Promise.reject(new CodedError("aborted", "")));
  expect(await lenders.open({ request: requestOf(), prefixHash: "p" }, signal)).toBeNull();
  expect(listed).toEqual([]);
  await expect(lenders.open({ request, prefixHash: "p" }, AbortSignal.abort(new Error("the chunk")))).rejects.toThrow("the chunk");
});
