import { expect, it } from "vitest";
import { HashedTexts } from "./hashed-texts.ts";

const count = 20_000;

it.each([
  ["short", (number: number) => `text-${number}`],
  ["long", (number: number) => `${"the same beginning ".repeat(20)}${number}`],
])("%s texts are found with their number, and no others, while the tables grow", (_, text) => {
  const texts = new HashedTexts({ most: count, numbered: true });
  const all = Array.from({ length: count }, (_unused, number) => number);
  expect(all.filter((number) => texts.find(text(number), number) !== null)).toEqual([]);
  expect(all.filter((number) => texts.find(text(number), 0) !== number)).toEqual([]);
  // Full: what is new is neither found nor remembered.
  expect([texts.find(text(count), 1), texts.find(text(count), 1)]).toEqual([null, null]);
});

it("without numbers a text that was seen is 0", () => {
  const texts = new HashedTexts({ most: count, numbered: false });
  expect([texts.find("a", 5), texts.find("b", 6), texts.find("a", 7), texts.find("b", 8)]).toEqual([null, null, 0, 0]);
});

it("gives its memory back when it is disposed of", () => {
  const texts = new HashedTexts({ most: count, numbered: true });
  for (let number = 0; number < count; number++) texts.find(`text-${number}`, number);
  expect(texts.sizeBytes).toBeGreaterThan(12 * count);
  texts[Symbol.dispose]();
  expect(texts.sizeBytes).toBe(0);
});
