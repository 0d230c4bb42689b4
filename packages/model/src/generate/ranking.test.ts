import { describe, expect, it } from "vitest";
import { ranking } from "./ranking.ts";

const logs = (...rows: readonly (readonly number[])[]): Float32Array =>
  Float32Array.from(rows.flat(), (probability) => Math.log(probability));

describe("ranking", () => {
  it("sums each candidate's log-probabilities, in the order given, whatever their lengths", () => {
    const search = ranking([[0], [1, 2, 0], [2, 1]], 3);
    const first = search.next(logs([0.5, 0.3, 0.2]));
    expect(first).toEqual({ kind: "step", step: { parents: [0, 0, 0], tokens: [[], [1, 2], [2]] } });
    const outcome = search.next(logs([0.1, 0.1, 0.8], [0.6, 0.2, 0.2], [0.3, 0.4, 0.3]));
    if (outcome.kind !== "end") throw new Error("the ranking goes on");
    expect(outcome.answers.map(({ score }) => score?.toFixed(4))).toEqual(
      [Math.log(0.5), Math.log(0.3 * 0.8 * 0.6), Math.log(0.2 * 0.4)].map((sum) => sum.toFixed(4)),
    );
  });

  it("needs no further run where every candidate is one token", () => {
    const outcome = ranking([[1], [2]], 3).next(Float32Array.of(0, 0, 0));
    if (outcome.kind !== "end") throw new Error("the ranking goes on");
    expect(outcome.answers.map(({ score }) => score?.toFixed(4))).toEqual([(-Math.log(3)).toFixed(4), (-Math.log(3)).toFixed(4)]);
  });
});
