import { expect, it } from "vitest";
import { seededDraw } from "./draw.ts";

it("gives the same number for the same seed, row, sequence and step, in any order", () => {
  const draw = seededDraw(7, "row");
  const numbers = [draw(0, 0), draw(0, 1), draw(1, 0)];
  const again = seededDraw(7, "row");
  expect([again(1, 0), again(0, 1), again(0, 0)].toReversed()).toEqual(numbers);
});

it("gives another number where any of them is another, and keeps names apart", () => {
  const numbers = [
    seededDraw(7, "row")(0, 0),
    seededDraw(8, "row")(0, 0),
    seededDraw(7, "other")(0, 0),
    seededDraw(7, "row")(1, 0),
    seededDraw(7, "row")(0, 1),
    seededDraw(7, "row,1")(0, 0),
    seededDraw(-7, "row")(0, 0),
  ];
  expect(new Set(numbers).size).toBe(numbers.length);
});

it("spreads evenly from 0 to 1", () => {
  const draw = seededDraw(1, "row");
  const numbers = Array.from({ length: 4_000 }, (_, step) => draw(0, step));
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...numbers)).toBeLessThan(1);
  for (let tenth = 0; tenth < 10; tenth++) {
    const share = numbers.filter((number) => Math.floor(number * 10) === tenth).length / numbers.length;
    // Five standard deviations; and the seed is fixed.
    expect(Math.abs(share - 0.1)).toBeLessThan(0.024);
  }
});
