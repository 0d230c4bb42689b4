/** The law of company on a few random rows; `npm run fuzz` runs thousands. */
import { describe, expect, it } from "vitest";
import { greedySearch } from "../generate/search.ts";
import { sampledSearch } from "../generate/sampled-search.ts";
import { beamSearch } from "../generate/beam-search.ts";
import { randomCase } from "./cases.ts";
import { replay, type WatchedRow } from "./margins.ts";
import { fuzzReference } from "./references.ts";

describe("random rows", () => {
  it.each([
    ["mpt-qk-norm", 0],
    ["neox-parallel", 40],
  ])(
    "answer the same alone and in company: %s",
    async (name, from) => {
      const report = await fuzzReference(name, { seed: 20, from, count: 30 });
      expect(report.faults).toEqual([]);
      expect(report.cases).toBe(30);
      expect(report.givenUp).toBeGreaterThan(0);
      for (const count of Object.values(report.kinds)) expect(count).toBeGreaterThan(0);
    },
    120_000,
  );

  it("are the same for the same seed, each for itself", () => {
    expect(randomCase(3, 17, [[]])).toEqual(randomCase(3, 17, [[]]));
    expect(randomCase(3, 17, [[]])).not.toEqual(randomCase(4, 17, [[]]));
  });
});

describe("the margin", () => {
  const logs = (...rows: readonly (readonly number[])[]): Float32Array => Float32Array.from(rows.flat(), (value) => Math.log(value));
  const row: WatchedRow = { generation: { maxNewTokens: 2 }, promptTokens: 4, endToken: 3, vocabulary: 4, draw: () => 0 };
  const limits = { maxNewTokens: 2, minNewTokens: 0, endToken: 3, isStopped: null, logProbabilities: false };

  it("of a greedy row is the smallest gap to the second best, the banned end token left aside", () => {
    const steps = [logs([0.5, 0.3, 0.1, 0.1]), logs([0.2, 0.4, 0.1, 0.3])];
    expect(replay(greedySearch(limits), row, steps).margin).toBeCloseTo(Math.log(4 / 3), 5);
    const banned = { ...row, generation: { maxNewTokens: 2, minNewTokens: 2 } };
    expect(replay(greedySearch({ ...limits, minNewTokens: 2 }), banned, steps).margin).toBeCloseTo(Math.log(5 / 3), 5);
  });

  it("of a draw is its distance from the ends of its stretch, and from what the filters might have kept", () => {
    const steps = [logs([0.4, 0.3, 0.2, 0.1])];
    const marginOf = (filters: { topK?: number; topP?: number }): number => {
      const search = sampledSearch({ ...limits, maxNewTokens: 1, filters, sequences: 1, draw: () => 0.68, vocabulary: 4 });
      const generation = { maxNewTokens: 1, sampling: { seed: 0, ...filters } };
      return replay(search, { ...row, generation, draw: () => 0.68 }, steps).margin;
    };
    expect(marginOf({})).toBeCloseTo(0.02, 5);
    // 0.4 / 0.7 = 0.571 is the one end there is.
    expect(marginOf({ topK: 2 })).toBeCloseTo(0.68 - 4 / 7, 5);
    expect(marginOf({ topP: 0.71 })).toBeCloseTo(0.01, 5);
  });

  it("of beams is the smallest gap between neighbours among the candidates, or between scores", () => {
    const beams = {
      beams: 2,
      promptTokens: 4,
      vocabulary: 4,
      maxNewTokens: 1,
      minNewTokens: 0,
      endToken: 3,
      lengthPenalty: 0,
      earlyStopping: false as const,
      answers: 1,
      logProbabilities: false,
    };
    const generation = { maxNewTokens: 1, numBeams: 2 };
    const marginOf = (...probabilities: number[]): number =>
      replay(beamSearch(beams), { ...row, generation }, [logs(probabilities)]).margin;
    expect(marginOf(0.5, 0.3, 0.15, 0.05)).toBeCloseTo(Math.log(5 / 3), 5);
    expect(marginOf(0.5, 0.3, 0.11, 0.09)).toBeCloseTo(Math.log(11 / 9), 5);
  });
});
