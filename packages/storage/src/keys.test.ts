import { describe, expect, it } from "vitest";
import {
  batchKeys,
  epochKey,
  lenderInName,
  lenderKey,
  modelKeys,
  modelsPrefix,
  numberInName,
  openPrefix,
  partInName,
  recipePrefix,
} from "./keys.ts";

describe("the keys of a batch", () => {
  const keys = batchKeys("batch_1");

  it("are those of the lifecycle", () => {
    const plan = keys.plan("P");
    const final = keys.final("S");
    expect([
      keys.marker,
      keys.request,
      keys.control(7, "U"),
      plan.items,
      plan.index,
      plan.example(0),
      plan.exampleFrame(1, 2),
      plan.errors,
      plan.manifest,
      keys.part("P", 12, "A", false),
      keys.part("P", 12, "A", true),
      keys.frontier(3, 14),
      keys.rebuilt(3),
      keys.seal(3, "S"),
      final.output,
      final.errors,
      final.summary,
      final.answers(0),
      keys.end,
      keys.after,
      keys.deleted,
    ]).toEqual([
      "open/batch_1",
      "batches/batch_1/batch.json",
      "batches/batch_1/control/0000000007-U.json",
      "batches/batch_1/plan/P/items.jsonl",
      "batches/batch_1/plan/P/index",
      "batches/batch_1/plan/P/examples/0",
      "batches/batch_1/plan/P/examples/1/2",
      "batches/batch_1/plan/P/errors.jsonl",
      "batches/batch_1/plan/P/plan.json",
      "batches/batch_1/parts/P/0000000012-A.jsonl",
      "batches/batch_1/parts/P/0000000012-A-cut.jsonl",
      "batches/batch_1/frontier/0000000003-0000000014.json",
      "batches/batch_1/rebuilt/0000000003.json",
      "batches/batch_1/seals/0000000003-S.json",
      "batches/batch_1/final/S/output.jsonl",
      "batches/batch_1/final/S/errors.jsonl",
      "batches/batch_1/final/S/summary.json",
      "batches/batch_1/final/S/answers/0000000000",
      "batches/batch_1/end.json",
      "batches/batch_1/after.json",
      "batches/batch_1/deleted.json",
    ]);
  });

  it("list in the order of their numbers", () => {
    const parts = [0, 2, 9, 10, 11, 100, 99_999, 1_000_000].map((chunk) => keys.part("P", chunk, "A", false));
    expect(parts.toSorted()).toEqual(parts);
  });

  it("of a chunk stand behind the place before it, and not those of the chunk before", () => {
    expect(keys.part("P", 10, "0", true) > keys.beforeParts("P", 10)).toBe(true);
    expect(keys.part("P", 9, "z", false) < keys.beforeParts("P", 10)).toBe(true);
  });

  it("lie below the prefixes that are listed", () => {
    expect(keys.part("P", 0, "A", false).startsWith(keys.partsPrefix)).toBe(true);
    expect(keys.part("P", 0, "A", false).startsWith(keys.planParts("P"))).toBe(true);
    expect(keys.plan("P").manifest.startsWith(keys.planPrefix)).toBe(true);
    expect(keys.control(1, "U").startsWith(keys.controlPrefix)).toBe(true);
    expect(keys.frontier(1, 1).startsWith(keys.frontierPrefix)).toBe(true);
    expect(keys.final("S").folderPrefix.startsWith(keys.finalPrefix)).toBe(true);
    expect(keys.final("S").output.startsWith(keys.final("S").folderPrefix)).toBe(true);
    expect(keys.plan("P").folderPrefix.startsWith(keys.planPrefix)).toBe(true);
    expect(keys.plan("P").manifest.startsWith(keys.plan("P").folderPrefix)).toBe(true);
    expect(keys.rebuilt(1).startsWith(keys.rebuiltPrefix)).toBe(true);
    expect(keys.seal(1, "S").startsWith(keys.sealPrefix)).toBe(true);
    expect(keys.end.startsWith(keys.folderPrefix)).toBe(true);
    expect(keys.marker.startsWith(openPrefix)).toBe(true);
    expect(keys.marker.startsWith(keys.folderPrefix)).toBe(false);
  });
});

describe("names", () => {
  const keys = batchKeys("batch_1");
  const ulid = "01jd2c9yq3v5f8m7k6h4n0p1rs";

  it("say the number that they begin with", () => {
    const numbered = [keys.control(7, ulid), keys.frontier(7, 3), keys.rebuilt(7), keys.seal(7, ulid), epochKey(7, ulid)];
    expect(numbered.map(numberInName)).toEqual([7, 7, 7, 7, 7]);
    expect(numberInName(epochKey(12_345_678_901, ulid))).toBe(12_345_678_901);
    expect([`${keys.controlPrefix}notes.json`, keys.request, keys.plan(ulid).items].map(numberInName)).toEqual([null, null, null]);
  });

  it("say a part's chunk and attempt, and whether it was cut", () => {
    expect(partInName(keys.part(ulid, 12, ulid, false))).toEqual({ chunk: 12, attempt: ulid, cut: false });
    expect(partInName(keys.part(ulid, 0, ulid, true))).toEqual({ chunk: 0, attempt: ulid, cut: true });
    expect(partInName(`${keys.partsPrefix}${ulid}/notes.jsonl`)).toBeNull();
  });
});

it("a model is a folder of the catalogue", () => {
  expect(modelKeys("demo")).toEqual({ folderPrefix: "models/demo/", manifest: "models/demo/flamingo.json" });
  expect(modelKeys("demo").folderPrefix.startsWith(modelsPrefix)).toBe(true);
});

it("names of batches that lend their answers list the newest first, and say whose they are", () => {
  const keys = [1_800_000_000, 1_700_000_001, 1_700_000_000].map((created_at, at) =>
    lenderKey("hash", { id: `batch_${at}`, tenant: "birds", created_at }),
  );
  expect(keys[0]).toBe("reuse/birds/hash/8199999999-batch_0");
  expect(keys.toSorted()).toEqual(keys);
  expect(keys.every((key) => key.startsWith(recipePrefix("birds", "hash")))).toBe(true);
  expect(keys.map(lenderInName)).toEqual(["batch_0", "batch_1", "batch_2"]);
});
