import { expect, it } from "vitest";
import { randomNumbers } from "../random-model.ts";
import { logSumExp } from "./log-sum-exp.ts";

const exactly = (logits: Float32Array): number => {
  const most = Math.max(...logits);
  return most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
};

it.each([0.001, 1, 10, 100, 1000])("is log Σ exp to the twelfth digit where logits lie %d apart", (spread) => {
  const next = randomNumbers(`logits/${spread}`);
  const logits = Float32Array.from({ length: 5000 }, () => (next() * 2 - 1) * spread);
  expect(Math.abs(logSumExp(logits) - exactly(logits))).toBeLessThan(1e-12 * Math.max(1, spread));
});

it("leaves out what can't come, and is −Infinity where nothing can", () => {
  expect(logSumExp(Float32Array.of(-Infinity, 2, -Infinity))).toBe(2);
  expect(logSumExp(Float32Array.of(-Infinity, -Infinity))).toBe(-Infinity);
  expect(logSumExp(Float32Array.of(Number.NaN, 1))).toBeNaN();
});
