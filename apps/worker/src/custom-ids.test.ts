import { expect, it } from "vitest";
import { CustomIds } from "./custom-ids.ts";

it("finds every duplicate and nothing else, while its tables grow", () => {
  const ids = new CustomIds();
  const names = Array.from({ length: 50_000 }, (_, index) => `item-${index}`);
  expect(names.filter((name) => ids.seen(name))).toEqual([]);
  expect(names.filter((name) => !ids.seen(name))).toEqual([]);
  expect(ids.seen("item-50000")).toBe(false);
});

it("takes at most 16 bytes an id", () => {
  const ids = new CustomIds();
  for (let count = 1; count <= 60_000; count++) {
    ids.seen(`item-${count}`);
    if (count >= 10_000 && count % 500 === 0) expect(ids.sizeBytes / count).toBeLessThanOrEqual(16);
  }
});
