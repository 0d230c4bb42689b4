import { describe, expect, it } from "vitest";
import { greedySearch, type Search, type SearchOutcome } from "./search.ts";

const limits = { maxNewTokens: 9, minNewTokens: 0, endToken: 3, isStopped: null, logProbabilities: false };
const run = (search: Search, rows: readonly (readonly number[])[]): unknown[] => rows.map((row) => search.next(Float32Array.from(row)));

describe("greedy search", () => {
  it("takes the likeliest token, of equals the first", () => {
    const search = greedySearch(limits);
    expect(run(search, [[0, 2, 2, 1]])).toEqual([{ kind: "step", step: { parents: [0], tokens: [[1]] } }]);
  });

  it("ends with the end token, which stands in its answer", () => {
    const search = greedySearch(limits);
    expect(
      run(search, [
        [5, 0, 0, 1],
        [0, 0, 0, 1],
      ])[1],
    ).toEqual({ kind: "end", answers: [{ tokens: [0, 3], score: null, logProbabilities: null, finish: "stop" }] });
  });

  it("ends after as many tokens as it may make", () => {
    const search = greedySearch({ ...limits, maxNewTokens: 2 });
    expect(
      run(search, [
        [5, 0, 0, 1],
        [0, 5, 0, 1],
      ])[1],
    ).toEqual({ kind: "end", answers: [{ tokens: [0, 1], score: null, logProbabilities: null, finish: "length" }] });
  });

  it("can't choose the end token before it has made the fewest tokens asked for", () => {
    const search = greedySearch({ ...limits, minNewTokens: 1 });
    expect(
      run(search, [
        [-9, -8, -9, 7],
        [0, 0, 0, 1],
      ])[1],
    ).toEqual({ kind: "end", answers: [{ tokens: [1, 3], score: null, logProbabilities: null, finish: "stop" }] });
  });

  it("chooses something even where every logit is −∞", () => {
    const search = greedySearch({ ...limits, maxNewTokens: 1 });
    expect(run(search, [[-Infinity, -Infinity, -Infinity, -Infinity]])).toEqual([
      { kind: "end", answers: [{ tokens: [0], score: null, logProbabilities: null, finish: "length" }] },
    ]);
  });

  it("ends with the token that completes a stop string, also where it is the last one allowed", () => {
    const isStopped = (tokens: readonly number[]): boolean => tokens.join("").includes("12");
    const rows = [
      [0, 5, 0, 0],
      [0, 0, 5, 0],
    ];
    for (const maxNewTokens of [9, 2]) {
      expect(run(greedySearch({ ...limits, maxNewTokens, isStopped }), rows)[1]).toEqual({
        kind: "end",
        answers: [{ tokens: [1, 2], score: null, logProbabilities: null, finish: "stop" }],
      });
    }
  });

  it("says of every token how likely it was, before the end token was banned", () => {
    const search = greedySearch({ ...limits, maxNewTokens: 2, minNewTokens: 1, logProbabilities: true });
    const rows = [
      [0.25, 0.1, 0.05, 0.6],
      [0.1, 0.2, 0.3, 0.4],
    ].map((row) => row.map(Math.log));
    const outcome = run(search, rows)[1] as Extract<SearchOutcome, { kind: "end" }>;
    expect(outcome.answers[0]?.tokens).toEqual([0, 3]);
    expect(outcome.answers[0]?.logProbabilities?.map((value) => Math.exp(value).toFixed(5))).toEqual(["0.25000", "0.40000"]);
  });
});
