import { expect, it } from "vitest";
import { comparePositions, failedLine, linePosition, refusedResultLine } from "./result-line.ts";

const item = (number: number) => failedLine({ batchId: "batch_01abc", item: number, customId: `c${number}` }, "image_not_found", "gone").id;
const refused = (line: number, beforeItem: number) =>
  refusedResultLine("batch_01abc", { code: "invalid_line", message: "", param: null, line, custom_id: null, before_item: beforeItem }).id;

it("puts a refused line before the item it stood before, and keeps the manifest's order among them", () => {
  const ids = [refused(1, 0), refused(2, 0), item(0), item(1), refused(5, 2), item(2), item(10)];
  const shuffled = ids.toReversed();
  const sorted = shuffled.toSorted((a, b) => {
    const [left, right] = [linePosition(a), linePosition(b)];
    if (left === null || right === null) throw new Error("no position");
    return comparePositions(left, right);
  });
  expect(sorted).toEqual(ids);
});

it("knows no position in a foreign id", () => {
  expect(linePosition("file-abc")).toBeNull();
});

it("names the field that a refused line has wrong", () => {
  const line = { code: "invalid_line", message: "expected a string", param: "image", line: 3, custom_id: "c", before_item: 2 };
  expect(refusedResultLine("batch_01abc", line).error).toEqual({ code: "invalid_line", message: "image: expected a string", line: 3 });
});
