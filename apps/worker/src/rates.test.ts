import { expect, it } from "vitest";
import { Rates } from "./rates.ts";

it("counts a model's items over the time in which any chunk of it runs", () => {
  let nowMs = 1_000;
  const rates = new Rates(() => nowMs);
  const items = (count: number) => Array.from({ length: count }, () => rates.itemDone("m"));
  expect(rates.perSecond("m")).toBeNull();
  rates.chunkStarted("m");
  nowMs += 2_000;
  rates.chunkStarted("m");
  items(20);
  expect(rates.perSecond("m")).toBe(10);
  nowMs += 2_000;
  rates.chunkEnded("m");
  rates.chunkEnded("m");
  expect(rates.perSecond("m")).toBe(5);
  // A day without work says nothing of what work costs.
  nowMs += 86_400_000;
  expect(rates.perSecond("m")).toBe(5);
  expect(rates.perSecond("other")).toBeNull();
  // What is long ago counts for less.
  rates.chunkStarted("m");
  nowMs += 600_000;
  items(60_000);
  rates.chunkEnded("m");
  rates.chunkStarted("m");
  nowMs += 302_000;
  rates.chunkEnded("m");
  expect(rates.perSecond("m")).toBeLessThan(60);
});
