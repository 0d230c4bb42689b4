import type { Item } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { FirstItems } from "./first-items.ts";

const item = (fields: { custom_id: string } & Partial<Extract<Item, { image: string }>>): Item => ({
  line: 1,
  image: "s3://photos/1",
  question: null,
  ...fields,
});

it("finds the first item that shows and asks the same, whatever its name", () => {
  const first = new FirstItems();
  const found = [
    item({ custom_id: "a" }),
    item({ custom_id: "b", line: 2 }),
    item({ custom_id: "c", question: "Why?" }),
    item({ custom_id: "d", etag: "1" }),
    item({ custom_id: "e", labels: ["x", "y"] }),
    item({ custom_id: "f", prompt: "It is" }),
    item({ custom_id: "g", image: "s3://photos/2" }),
    item({ custom_id: "h", etag: "1" }),
  ].map((each, place) => first.find(each, place));
  expect(found).toEqual([null, 0, null, null, null, null, null, 3]);
  // A retry's, by the numbers that they had.
  expect(first.find(item({ custom_id: "i", number: 40, etag: "1" }), 8)).toBe(3);
});

it("remembers so many and no more, in at most 24 bytes each", () => {
  const count = 100_000;
  const first = new FirstItems(count);
  const at = (number: number) => item({ custom_id: String(number), image: `s3://photos/${number}` });
  const found = Array.from({ length: count + 10 }, (_, number) => first.find(at(number), number));
  expect(found.every((place) => place === null)).toBe(true);
  expect(first.find(at(0), count + 20)).toBe(0);
  expect(first.find(at(count - 1), count + 21)).toBe(count - 1);
  expect(first.find(at(count + 5), count + 22)).toBeNull();
  expect(first.sizeBytes).toBeLessThanOrEqual(24 * count + 256 * 200);
});
