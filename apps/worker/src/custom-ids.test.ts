import { expect, it } from "vitest";
import { CustomIds } from "./custom-ids.ts";

it("finds every duplicate and nothing else, while its table grows", () => {
  const ids = new CustomIds();
  const names = Array.from({ length: 50_000 }, (_, index) => `item-${index}`);
  expect(names.filter((name) => ids.seen(name))).toEqual([]);
  expect(names.filter((name) => !ids.seen(name))).toEqual([]);
  expect(ids.seen("item-50000")).toBe(false);
});
