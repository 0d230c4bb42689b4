import { CodedError, succeededLine, type End, type Plan, type ResultLine } from "@flamboyance/contracts";
import { batchKeys, jsonLine, lenderKey, recipePrefix, type Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { createMetrics } from "../metrics.ts";
import { requestOf } from "../testing/request.ts";
import { recipeOf } from "./answer-key.ts";
import { prefixHash } from "../prompt.ts";
import { openLenders } from "./lenders.ts";
import { openLentAnswers } from "./lent-answers.ts";

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

/** What was written to it, by key. */
function memory() {
  const objects = new Map<string, Buffer>();
  const found = (key: string): Buffer => {
    const bytes = objects.get(key);
    if (bytes === undefined) throw new CodedError("storage_not_found", key);
    return bytes;
  };
  const facts = (bytes: Buffer) => ({ sizeBytes: bytes.length, sha256: "", etag: "", contentType: null, lastModified: new Date(0) });
  const storage: Partial<Storage> = {
    write: ({ key }, bytes) => {
      objects.set(key, Buffer.from(bytes));
      return Promise.resolve({ etag: "" });
    },
    writeStream: async ({ key }, pieces) => {
      objects.set(key, Buffer.concat(await Array.fromAsync(pieces)));
      return facts(found(key));
    },
    async *list({ key: prefix }) {
      for (const [key, bytes] of objects) if (key.startsWith(prefix)) yield { key, ...facts(bytes) };
    },
    read: async ({ key }) => ({ bytes: found(key), etag: "", contentType: null }),
    readRange: async ({ key }, { offsetBytes, lengthBytes }) => found(key).subarray(offsetBytes, offsetBytes + lengthBytes),
    describe: ({ key }) => {
      const bytes = objects.get(key);
      return Promise.resolve(bytes === undefined ? null : facts(bytes));
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that lending uses
  return { objects, storage: storage as Storage };
}

const lender = requestOf({ id: "batch_1", reuse: true });
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that lending looks at
const plan = { examples: [] } as unknown as Plan;
const lineOf = (name: string, content: string): ResultLine =>
  succeededLine(
    { batchId: lender.id, item: 0, customId: name },
    {
      created: 1,
      model: lender.model.name,
      choices: [{ index: 0, message: { role: "assistant", content, refusal: null }, finish_reason: "stop", logprobs: null }],
      usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, prompt_tokens_details: { cached_tokens: 0 } },
    },
    {
      images: [{ image: `s3://photos/${name}`, etag: null, sha256: name }],
      precision: "fp32",
      prompt_sha256: "p",
      timings: { fetch_ms: 0, decode_ms: 0, engine_ms: 0 },
      worker: "w",
    },
  );
const askedFor = (name: string) => ({ customId: name, images: [{ sha256: name }], prompt: "p" });

/** An ended batch with these lines, and lenders over its S3 at a clock that stands. */
async function lentBy(lines: readonly ResultLine[]) {
  const { objects, storage } = memory();
  const keys = batchKeys(lender.id).final("seal");
  using lent = openLentAnswers({ storage, bucket: "service" }, lender, plan, keys, signal);
  for (const line of lines) await lent.add(line, jsonLine(line));
  const lends = await lent.finish();
  objects.set(keys.output, Buffer.from(lines.map(jsonLine).join("")));
  const usage = {
    input_tokens: 1,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 1,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 2,
  };
  const end: End = {
    seal: "seal",
    status: "completed",
    ended_at: 1,
    in_progress_at: 1,
    finalizing_at: 1,
    cancelling_at: null,
    counts: { total: lines.length, completed: lines.length, failed: 0 },
    usage,
    errors: [],
    ...(lends === null ? {} : { lends }),
    files: {
      output: { key: keys.output, sha256: "", lines: lines.length },
      errors: { key: keys.errors, sha256: "", lines: 0 },
      summary: { key: keys.summary, sha256: "" },
    },
  };
  objects.set(batchKeys(lender.id).end, Buffer.from(jsonLine(end)));
  const clock = { ms: 0 };
  const metrics = createMetrics(() => Promise.resolve([]));
  const lenders = openLenders({ storage, bucket: "service", metrics, maxBytes: 1e8, signal, nowMs: () => clock.ms });
  const earlier = await lenders.open({ request, prefixHash: prefixHash(lender, []) }, signal);
  return { objects, lends, clock, find: async (name: string) => (await earlier?.find(askedFor(name), signal))?.custom_id ?? null };
}

it("answers with the line of what was shown and asked, for a second at most once its batch is deleted", async () => {
  const { objects, clock, find } = await lentBy([lineOf("a", "a bird"), lineOf("b", "a cat")]);
  expect([await find("b"), await find("a"), await find("c")]).toEqual(["b", "a", null]);
  objects.set(batchKeys(lender.id).deleted, Buffer.from("{}"));
  clock.ms = 1_000;
  expect(await find("a")).toBe("a");
  clock.ms = 1_001;
  expect(await find("a")).toBeNull();
});

it("never reads a line longer than a mebibyte", async () => {
  const { find } = await lentBy([lineOf("long", "x".repeat(1_024 * 1_024)), lineOf("short", "a bird")]);
  expect([await find("long"), await find("short")]).toEqual([null, "short"]);
});

it("isn't offered by a batch without an answer: it would take the place of one that has some", async () => {
  const { objects, lends } = await lentBy([]);
  expect(lends).toBeNull();
  expect([...objects.keys()].filter((key) => key.startsWith("reuse/"))).toEqual([]);
  const { objects: others } = await lentBy([lineOf("a", "a bird")]);
  expect([...others.keys()].filter((key) => key.startsWith("reuse/"))).toHaveLength(1);
});
