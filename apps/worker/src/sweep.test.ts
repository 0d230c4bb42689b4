import { CodedError, type End, type Seal } from "@flamboyance/contracts";
import { batchKeys, type Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { sweepBatch, sweepDeleted } from "./sweep.ts";

const keys = batchKeys("b");
const signal = new AbortController().signal;
const times = { in_progress_at: 1, cancelling_at: null };
const seal: Seal = { seal: "won", outcome: "completed", plan: "plan", parts: [], sealed_at: 2, errors: [], ...times };
const end: End = {
  seal: "won",
  status: "completed",
  ended_at: 2,
  finalizing_at: 2,
  counts: { total: 0, completed: 0, failed: 0 },
  usage: {
    input_tokens: 0,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 0,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 0,
  },
  errors: [],
  files: null,
  ...times,
};

/** What S3 holds, each object with the second it was written in. */
function store(objects: Record<string, { text?: string; at: number }>) {
  const held = new Map(Object.entries(objects));
  const storage: Partial<Storage> = {
    async *list({ key: prefix }) {
      for (const [key, { at }] of [...held].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
        if (key.startsWith(prefix)) yield { key, sizeBytes: 1, etag: "", lastModified: new Date(at * 1_000) };
      }
    },
    read: ({ key }) => {
      const found = held.get(key);
      if (found === undefined) return Promise.reject(new CodedError("storage_not_found", key));
      return Promise.resolve({ bytes: Buffer.from(found.text ?? ""), etag: "", contentType: null });
    },
    describe: ({ key }) => Promise.resolve(held.has(key) ? { sizeBytes: 1, etag: "", lastModified: new Date(0), contentType: null } : null),
    remove: (locations) => {
      for (const { key } of locations) held.delete(key);
      return Promise.resolve();
    },
  };
  const sweep = (seconds: number, maxObjects = 1_000) =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a sweep uses
    sweepBatch({ storage: storage as Storage, serviceBucket: "service" }, "b", { beforeMs: seconds * 1_000, maxObjects }, signal);
  const away = (seconds: number) =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
    sweepDeleted({ storage: storage as Storage, serviceBucket: "service" }, "b", { beforeMs: seconds * 1_000, maxObjects: 10 }, signal);
  return { held, sweep, away };
}

const named = {
  [keys.request]: { at: 1 },
  [keys.control(1, "u")]: { at: 1 },
  [keys.end]: { at: 1, text: JSON.stringify(end) },
  [keys.after]: { at: 1 },
  [keys.final("won").output]: { at: 1 },
  [keys.final("won").errors]: { at: 1 },
  [keys.final("won").summary]: { at: 1 },
  [keys.plan("plan").items]: { at: 1 },
  [keys.plan("plan").manifest]: { at: 1 },
  [keys.plan("plan").example(0)]: { at: 1 },
  [keys.seal(2, "won")]: { at: 1, text: JSON.stringify(seal) },
};
const leftOvers = [
  keys.part("plan", 0, "a", false),
  keys.part("other", 0, "a", true),
  keys.frontier(1, 1),
  keys.rebuilt(2),
  keys.plan("other").items,
  keys.plan("plan2").manifest,
  keys.seal(1, "lost"),
  keys.final("lost").output,
];

it("takes everything of an ended batch but what its end stands for, and then finds nothing", async () => {
  const { held, sweep } = store({ ...named, ...Object.fromEntries(leftOvers.map((key) => [key, { at: 10 }])) });
  expect(await sweep(10)).toEqual({ removed: leftOvers.length, left: "later" });
  expect([...held.keys()].toSorted()).toEqual(Object.keys(named).toSorted());
  expect(await sweep(10)).toEqual({ removed: 0, left: "clean" });
});

it("leaves what was written too late for it, for a later look", async () => {
  const part = keys.part("plan", 0, "a", false);
  const { held, sweep } = store({ ...named, [part]: { at: 11 } });
  expect(await sweep(10)).toEqual({ removed: 0, left: "later" });
  expect(held.has(part)).toBe(true);
  expect(await sweep(11)).toEqual({ removed: 1, left: "later" });
  expect(held.has(part)).toBe(false);
});

it("takes no more than it may, and says that there is more", async () => {
  const { held, sweep } = store({ ...named, ...Object.fromEntries(leftOvers.map((key) => [key, { at: 1 }])) });
  expect(await sweep(10, 3)).toEqual({ removed: 3, left: "more" });
  expect(held.size).toBe(Object.keys(named).length + leftOvers.length - 3);
});

it("touches nothing of a batch without its end, and no plan where the seal can't say which won", async () => {
  const unended = { ...named, ...Object.fromEntries(leftOvers.map((key) => [key, { at: 1 }])) };
  delete unended[keys.end];
  const running = store(unended);
  expect(await running.sweep(10)).toEqual({ removed: 0, left: "clean" });
  expect(running.held.size).toBe(Object.keys(unended).length);

  const sealless = store({
    [keys.end]: { at: 1, text: JSON.stringify(end) },
    [keys.plan("plan").items]: { at: 1 },
    [keys.frontier(1, 1)]: { at: 1 },
  });
  expect(await sealless.sweep(10)).toEqual({ removed: 1, left: "later" });
  expect(sealless.held.has(keys.plan("plan").items)).toBe(true);
});

it("keeps a deleted retry's decision while a batch before it stands, so that its id isn't taken again", async () => {
  const decided = { tenant: "birds", deleted_at: 1, because: "asked", lineage: ["a", "gone"] };
  const { held, away } = store({
    [batchKeys("a").request]: { at: 1 },
    [keys.request]: { at: 1 },
    [keys.deleted]: { at: 1, text: JSON.stringify(decided) },
  });
  expect(await away(9)).toEqual({ removed: 1, left: "later" });
  expect(await away(9)).toEqual({ removed: 0, left: "later" });
  held.delete(batchKeys("a").request);
  expect(await away(9)).toEqual({ removed: 1, left: "clean" });
  expect([...held.keys()]).toEqual([]);
});

it("of a deleted batch takes first of all the name by which later ones find its answers, and lets no end that can't be read keep it", async () => {
  const lends = { recipe: "r", key: "reuse/birds/r/1-b", entries: 1, output_bytes: 1 };
  const decided = { at: 9, text: JSON.stringify({ tenant: "birds", deleted_at: 1, because: "asked" }) };
  const { held, away } = store({
    [keys.end]: { at: 1, text: JSON.stringify({ ...end, lends }) },
    [keys.deleted]: decided,
    [lends.key]: { at: 1 },
    ...Object.fromEntries(Array.from({ length: 11 }, (_, at) => [keys.control(at, "u"), { at: 1 }])),
  });
  // More than one look may take: the end may be among what goes.
  expect(await away(1)).toEqual({ removed: 10, left: "more" });
  expect(held.has(lends.key)).toBe(false);

  const broken = store({ [keys.end]: { at: 1, text: "not ours" }, [keys.deleted]: decided });
  expect(await broken.away(1)).toEqual({ removed: 1, left: "later" });
  expect([...broken.held.keys()]).toEqual([keys.deleted]);
});
