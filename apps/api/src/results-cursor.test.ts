import { expect, it } from "vitest";
import { decodeCursor, encodeCursor, firstCursor, lineageOf, type ResultsCursor } from "./results-cursor.ts";

const batchId = "batch_01hzzzzzzzzzzzzzzzzzzzzzzz";
const cursors: ResultsCursor[] = [
  firstCursor(batchId),
  { batchId, lineage: null, last: { item: 7, refusedLine: null }, place: { chunk: 1, line: 3 }, files: null },
  { batchId, lineage: null, last: { item: 7, refusedLine: 12 }, place: null, files: [{ seal: "s", outputBytes: 10, errorsBytes: 0 }] },
];

it("comes back as it was", () => {
  for (const cursor of cursors) expect(decodeCursor(encodeCursor(cursor), batchId)).toEqual(cursor);
});

it("of a lineage isn't one of its first batch alone, nor the other way round", () => {
  const cursor = { ...firstCursor(batchId, lineageOf(["a", "b", "c"])), last: { item: 1, refusedLine: null } };
  expect(decodeCursor(encodeCursor(cursor), batchId, "lineage")).toEqual(cursor);
  const invalid = expect.objectContaining({ code: "invalid_cursor", param: "after" });
  expect(() => decodeCursor(encodeCursor(cursor), batchId)).toThrow(invalid);
  expect(() => decodeCursor(encodeCursor(firstCursor(batchId)), batchId, "lineage")).toThrow(invalid);
});

it("is refused by another batch, and where it is damaged", () => {
  const text = encodeCursor(firstCursor(batchId));
  const invalid = expect.objectContaining({ code: "invalid_cursor", param: "after" });
  expect(() => decodeCursor(text, "batch_01haaaaaaaaaaaaaaaaaaaaaaa")).toThrow(invalid);
  for (const wrong of [
    "",
    "batch_01h",
    text.slice(0, -4),
    Buffer.from('{"b":"x","i":-1}').toString("base64url"),
    Buffer.from("[]").toString("base64url"),
  ]) {
    expect(() => decodeCursor(wrong, batchId)).toThrow(invalid);
  }
});

it("of a lineage tells which batches were read, in which order", () => {
  const read = [["a", "b"], ["b", "a"], ["a", "c"], ["a"], ["a", "b", "c"], ["a,b"]].map((ids) => lineageOf(ids).hash);
  expect(new Set(read).size).toBe(read.length);
  expect(lineageOf(["a", "b"])).toEqual({ batches: 2, hash: read[0] });
});
