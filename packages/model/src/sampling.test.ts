import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readSafetensors } from "./import/safetensors.ts";
import { samplingProbabilities } from "./sampling.ts";

const kept = (probabilities: Float64Array): number[] => [...probabilities.keys()].filter((token) => (probabilities[token] ?? 0) > 0);
const logits = Float32Array.from([1, 3, 2, 3, 0].map((value) => Math.fround(value)));

test("without filters it is a softmax", () => {
  const probabilities = samplingProbabilities(Float32Array.of(0, Math.log(3)));
  expect(probabilities[0]).toBeCloseTo(0.25, 7);
  expect(probabilities[1]).toBeCloseTo(0.75, 7);
});

test("top_k keeps the k best and what equals the k-th", () => {
  expect(kept(samplingProbabilities(logits, { topK: 1 }))).toEqual([1, 3]);
  expect(kept(samplingProbabilities(logits, { topK: 3 }))).toEqual([1, 2, 3]);
  expect(kept(samplingProbabilities(logits, { topK: 99 }))).toEqual([0, 1, 2, 3, 4]);
});

test("top_p keeps a token while the sum of strictly better ones is below p", () => {
  const half = Float32Array.from([0.5, 0.25, 0.25].map((share) => Math.log(share)));
  expect(kept(samplingProbabilities(half, { topP: 0.4 }))).toEqual([0]);
  expect(kept(samplingProbabilities(half, { topP: 0.6 }))).toEqual([0, 1, 2]);
  expect(kept(samplingProbabilities(half, { topP: 1e-9 }))).toEqual([0]);
});

test("top_p looks at what top_k left, renormalised", () => {
  const shares = Float32Array.from([0.4, 0.3, 0.2, 0.1].map((share) => Math.log(share)));
  // 0.4 / 0.7 = 0.57
  expect(kept(samplingProbabilities(shares, { topK: 2, topP: 0.5 }))).toEqual([0]);
  expect(kept(samplingProbabilities(shares, { topP: 0.5 }))).toEqual([0, 1]);
});

test("a forbidden token has no chance, and what is left sums to 1", () => {
  const probabilities = samplingProbabilities(Float32Array.of(-Infinity, 2, -Infinity, 1), { temperature: 0.5 });
  expect(kept(probabilities)).toEqual([1, 3]);
  expect(probabilities.reduce((sum, value) => sum + value)).toBeCloseTo(1, 12);
});

test.each(["mpt-qk-norm", "mpt", "neox-sequential", "neox-parallel", "video"])(
  "%s: the reference's filters on its logits",
  async (name) => {
    const folder = join(import.meta.dirname, "../reference", name);
    const tensors = await readSafetensors(join(folder, "expected.safetensors"));
    const read = async (tensor: string): Promise<Float32Array> =>
      new Float32Array(((await tensors.get(tensor)?.read()) ?? new Uint8Array()).slice().buffer);
    const { sampling } = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as {
      sampling: { filters: { temperature: number; top_k: number; top_p: number; tensor: string }[] };
    };
    expect(sampling.filters.length).toBeGreaterThan(0);
    for (const { temperature, top_k: topK, top_p: topP, tensor } of sampling.filters) {
      const expected = await read(tensor);
      const actual = samplingProbabilities((await read("logits/caption-1")).slice(-expected.length), { temperature, topK, topP });
      expect(kept(actual)).toEqual(kept(Float64Array.from(expected)));
      for (const [token, probability] of actual.entries()) expect(Math.abs(probability - (expected[token] ?? 0))).toBeLessThan(1e-6);
    }
  },
);
