import { describe, expect, it } from "vitest";
import { sampledSearch, type SampledOptions } from "./sampled-search.ts";
import type { Search, SearchOutcome } from "./search.ts";

const end = 3;
const options: SampledOptions = {
  filters: {},
  sequences: 1,
  draw: () => 0,
  vocabulary: 4,
  maxNewTokens: 5,
  minNewTokens: 0,
  endToken: end,
  isStopped: null,
  logProbabilities: false,
};

/** One row per text that still runs, of probabilities. */
const step = (search: Search, ...rows: readonly (readonly number[])[]): SearchOutcome =>
  search.next(Float32Array.from(rows.flat(), (probability) => Math.log(probability)));
const answersOf = (outcome: SearchOutcome): unknown[] => {
  if (outcome.kind !== "end") throw new Error("the search goes on");
  return outcome.answers.map(({ tokens, finish }) => [tokens.join(), finish]);
};
const row = [0.4, 0.3, 0.2, 0.1] as const;

describe("a sampled text", () => {
  it("takes the token in whose stretch the number falls, in the vocabulary's order", () => {
    const drawn = [0, 0.39, 0.41, 0.69, 0.71, 0.89, 0.91, 1 - 2 ** -48].map((number) =>
      answersOf(step(sampledSearch({ ...options, maxNewTokens: 1, draw: () => number }), row)),
    );
    expect(drawn.flat().map((answer) => (answer as [string])[0])).toEqual(["0", "0", "1", "1", "2", "2", "3", "3"]);
  });

  it("draws from what the filters leave, renormalised", () => {
    const drawnWith = (filters: SampledOptions["filters"], number: number): unknown =>
      answersOf(step(sampledSearch({ ...options, filters, maxNewTokens: 1, draw: () => number }), row))[0];
    expect(drawnWith({ topK: 2 }, 0.99)).toEqual(["1", "length"]);
    expect(drawnWith({ topP: 0.3 }, 0.99)).toEqual(["0", "length"]);
    // A quarter of the temperature: 0.4⁴ = 0.0256 of 0.0354.
    expect(drawnWith({ temperature: 0.25 }, 0.72)).toEqual(["0", "length"]);
    expect(drawnWith({ temperature: 0.25 }, 0.73)).toEqual(["1", "length"]);
  });

  it("can't end before the fewest new tokens are made", () => {
    const search = sampledSearch({ ...options, minNewTokens: 1, draw: () => 0.999 });
    expect(step(search, row)).toMatchObject({ kind: "step", step: { tokens: [[2]] } });
    expect(answersOf(step(search, row))).toEqual([["2,3", "stop"]]);
  });

  it("ends with a stop string, or at its greatest length", () => {
    const isStopped = (tokens: readonly number[]): boolean => tokens.join("").includes("00");
    const stopped = sampledSearch({ ...options, isStopped });
    step(stopped, row);
    expect(answersOf(step(stopped, row))).toEqual([["0,0", "stop"]]);
    const long = sampledSearch({ ...options, maxNewTokens: 2 });
    step(long, row);
    expect(answersOf(step(long, row))).toEqual([["0,0", "length"]]);
  });

  it("says how likely its tokens were before any filter", () => {
    const search = sampledSearch({ ...options, filters: { topK: 1, temperature: 0.1 }, maxNewTokens: 1, logProbabilities: true });
    const outcome = step(search, row);
    if (outcome.kind !== "end") throw new Error("the search goes on");
    expect(outcome.answers[0]?.logProbabilities?.map(Math.exp)).toEqual([expect.closeTo(0.4, 6)]);
  });
});

describe("several sampled texts", () => {
  it("begin at the one prompt, draw apart, and wait for the last of them without reading", () => {
    const numbers = [
      [0.95, 0, 0],
      [0.5, 0.95, 0],
      [0, 0.5, 0.95],
    ];
    const search = sampledSearch({ ...options, sequences: 3, draw: (sequence, at) => numbers[sequence]?.[at] ?? NaN });
    expect(search.beams).toBe(3);
    expect(step(search, row)).toEqual({ kind: "step", step: { parents: [0, 1, 2], tokens: [[], [1], [0]] } });
    expect(step(search, row, row)).toEqual({ kind: "step", step: { parents: [0, 1, 2], tokens: [[], [], [1]] } });
    expect(answersOf(step(search, row))).toEqual([
      ["3", "stop"],
      ["1,3", "stop"],
      ["0,1,3", "stop"],
    ]);
  });
});
