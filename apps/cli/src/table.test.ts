import { expect, it } from "vitest";
import { formatBytes, formatDuration, formatTable, oneLine } from "./table.ts";

it("makes columns as wide as their widest cell, and cuts at the screen's edge", () => {
  expect(
    formatTable(
      ["a", "name"],
      [
        ["1", "x"],
        ["22", "a long one"],
      ],
    ),
  ).toBe("a   name\n──  ──────────\n1   x\n22  a long one\n");
  expect(formatTable(["name"], [["a long one"]], 6)).toBe("name\n─────…\na lon…\n");
});

it("puts any text on one line", () => {
  expect(oneLine(" a\n b\tc ")).toBe("a b c");
});

it("says durations as people do", () => {
  expect([0, 59.6, 61, 7_500].map(formatDuration)).toEqual(["0 s", "1 min 0 s", "1 min 1 s", "2 h 5 min"]);
});

it("writes bytes in powers of ten", () => {
  expect([0, 999, 1_000, 4_190_000_000, 2e13].map(formatBytes)).toEqual(["0 B", "999 B", "1.0 kB", "4.2 GB", "20.0 TB"]);
});
