import { expect, it } from "vitest";
import { chooseFrames } from "./choose-frames.ts";

it("takes frames from the middles of equal stretches", () => {
  expect(chooseFrames(10, 1)).toEqual([5]);
  expect(chooseFrames(9, 3)).toEqual([1, 4, 7]);
  expect(chooseFrames(10, 4)).toEqual([1, 3, 6, 8]);
  expect(chooseFrames(5, 4)).toEqual([0, 1, 3, 4]);
});

it("takes all where there are no more than asked for", () => {
  expect(chooseFrames(1, 1)).toEqual([0]);
  expect(chooseFrames(4, 4)).toEqual([0, 1, 2, 3]);
  expect(chooseFrames(3, 64)).toEqual([0, 1, 2]);
});

it("never takes a frame twice, nor one that isn't there", () => {
  const wrong: string[] = [];
  for (let total = 1; total <= 300; total += 7) {
    for (let wanted = 1; wanted <= 64; wanted += 1) {
      const chosen = chooseFrames(total, wanted);
      const rises = chosen.every((index, place) => index > (chosen[place - 1] ?? -1) && index < total);
      if (chosen.length !== Math.min(total, wanted) || !rises) wrong.push(`${wanted} of ${total}: ${chosen.join(" ")}`);
    }
  }
  expect(wrong).toEqual([]);
});
