import { expect, test } from "vitest";
import { alibiSlopes } from "./mpt.ts";

test("ALiBi's slopes halve from head to head for eight heads", () => {
  expect(alibiSlopes(8, 8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((exponent) => 2 ** -exponent));
});

test("heads that aren't a power of two take every second slope of the next power first", () => {
  // transformers 4.33 build_mpt_alibi_tensor, 6 heads
  expect(alibiSlopes(6, 8)).toEqual([2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3]);
});

test("slopes are rounded to fp32", () => {
  expect(alibiSlopes(16, 8)[0]).toBe(Math.fround(2 ** -0.5));
});
