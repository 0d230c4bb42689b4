import { expect, it } from "vitest";
import { decodeCursor, encodeCursor, firstCursor, type ResultsCursor } from "./results-cursor.ts";

const batchId = "batch_01hzzzzzzzzzzzzzzzzzzzzzzz";
const cursors: ResultsCursor[] = [
  firstCursor(batchId),
  { batchId, last: { item: 7, refusedLine: null }, place: { chunk: 1, line: 3 }, files: null },
  { batchId, last: { item: 7, refusedLine: 12 }, place: null, files: { seal: "s", outputBytes: 10, errorsBytes: 0 } },
];

it("comes back as it was", () => {
  for (const cursor of cursors) expect(decodeCursor(encodeCursor(cursor), batchId)).toEqual(cursor);
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
