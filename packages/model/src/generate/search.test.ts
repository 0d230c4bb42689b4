import { describe, expect, it } from "vitest";
import { greedySearch, type Search } from "./search.ts";

const run = (search: Search, rows: readonly (readonly number[])[]): unknown[] => rows.map((row) => search.next(Float32Array.from(row)));

describe("greedy search", () => {
  it("takes the likeliest token, of equals the first", () => {
    const search = greedySearch({ maxNewTokens: 9, minNewTokens: 0, endToken: 3 });
    expect(run(search, [[0, 2, 2, 1]])).toEqual([{ kind: "step", step: { parents: [0], tokens: [[1]] } }]);
  });

  it("ends with the end token, which stands in its answer", () => {
    const search = greedySearch({ maxNewTokens: 9, minNewTokens: 0, endToken: 3 });
    expect(
      run(search, [
        [5, 0, 0, 1],
        [0, 0, 0, 1],
      ])[1],
    ).toEqual({ kind: "end", answers: [{ tokens: [0, 3], score: null, finish: "stop" }] });
  });

  it("ends after as many tokens as it may make", () => {
    const search = greedySearch({ maxNewTokens: 2, minNewTokens: 0, endToken: 3 });
    expect(
      run(search, [
        [5, 0, 0, 1],
        [0, 5, 0, 1],
      ])[1],
    ).toEqual({ kind: "end", answers: [{ tokens: [0, 1], score: null, finish: "length" }] });
  });

  it("can't choose the end token before it has made the fewest tokens asked for", () => {
    const search = greedySearch({ maxNewTokens: 9, minNewTokens: 1, endToken: 3 });
    expect(
      run(search, [
        [-9, -8, -9, 7],
        [0, 0, 0, 1],
      ])[1],
    ).toEqual({ kind: "end", answers: [{ tokens: [1, 3], score: null, finish: "stop" }] });
  });

  it("chooses something even where every logit is −∞", () => {
    const search = greedySearch({ maxNewTokens: 1, minNewTokens: 0, endToken: 3 });
    expect(run(search, [[-Infinity, -Infinity, -Infinity, -Infinity]])).toEqual([
      { kind: "end", answers: [{ tokens: [0], score: null, finish: "length" }] },
    ]);
  });
});
