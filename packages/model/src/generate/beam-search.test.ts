/** The rules of Hugging Face's beam search one by one, on chosen log-probabilities; whole generations are compared with the original's by parity. */
import { describe, expect, it } from "vitest";
import { beamSearch, type BeamOptions } from "./beam-search.ts";
import type { Search, SearchOutcome } from "./search.ts";

const end = 3;
const options: BeamOptions = {
  beams: 2,
  promptTokens: 10,
  vocabulary: 4,
  maxNewTokens: 5,
  minNewTokens: 0,
  endToken: end,
  lengthPenalty: 0,
  earlyStopping: false,
  answers: 1,
  logProbabilities: false,
};

/** One row per beam, of probabilities: their logarithms are logits that are normalised already. */
const step = (search: Search, ...rows: readonly (readonly number[])[]): SearchOutcome =>
  search.next(Float32Array.from(rows.flat(), (probability) => Math.log(probability)));
const answersOf = (outcome: SearchOutcome): readonly unknown[] => {
  if (outcome.kind !== "end") throw new Error("the search goes on");
  return outcome.answers.map(({ tokens, score, finish }) => [tokens.join(), score?.toFixed(3), finish]);
};

describe("beam search", () => {
  it("goes on from the best beams, whoever their parent is", () => {
    const search = beamSearch(options);
    expect(step(search, [0.6, 0.3, 0.05, 0.05])).toEqual({ kind: "step", step: { parents: [0, 0], tokens: [[0], [1]] } });
    // 0.6 · 0.1 = 0.06 and less; 0.3 · 0.5 = 0.15, 0.3 · 0.4 = 0.12.
    expect(step(search, [0.1, 0.1, 0.05, 0.75], [0.5, 0.4, 0.05, 0.05])).toEqual({
      kind: "step",
      step: { parents: [1, 1], tokens: [[0], [1]] },
    });
  });

  it("takes an end only where it ranks among the first beams", () => {
    const search = beamSearch({ ...options, maxNewTokens: 1 });
    // Third of four: no hypothesis; the two that run are answered as long as they may be.
    expect(answersOf(step(search, [0.5, 0.3, 0.05, 0.15]))).toEqual([["0", "-0.693", "length"]]);
    const second = beamSearch({ ...options, maxNewTokens: 1, answers: 2 });
    expect(answersOf(step(second, [0.5, 0.15, 0.05, 0.3]))).toEqual([
      ["0", "-0.693", "length"],
      ["3", "-1.204", "stop"],
    ]);
  });

  it("is done when its hypotheses can't be beaten at the present length", () => {
    const search = beamSearch({ ...options, answers: 2 });
    step(search, [0.3, 0.05, 0.05, 0.6]);
    // Both beams end now: 0.6 is kept, and of 0.29 and less the better one.
    expect(answersOf(step(search, [0.01, 0.01, 0.01, 0.97], [0.01, 0.01, 0.01, 0.97]))).toEqual([
      ["3", "-0.511", "stop"],
      ["0,3", "-1.234", "stop"],
    ]);
  });

  it("with early stopping is done at once when enough have ended", () => {
    const rows = [
      [0.5, 0.1, 0.1, 0.3],
      [0.9, 0.02, 0.02, 0.06],
      [0.02, 0.02, 0.02, 0.94],
    ] as const;
    const patient = beamSearch(options);
    const hasty = beamSearch({ ...options, earlyStopping: true });
    for (const search of [patient, hasty]) step(search, rows[0]);
    // "0,0" runs at 0.45 and the end of the second beam is a hypothesis of 0.094: two have ended, one running beam is better than both.
    expect(step(patient, rows[1], rows[2]).kind).toBe("step");
    expect(answersOf(step(hasty, rows[1], rows[2]))).toEqual([["3", "-1.204", "stop"]]);
  });

  it("divides by the whole length, the prompt's included and the end token not", () => {
    const search = beamSearch({ ...options, lengthPenalty: 1, earlyStopping: true, answers: 2, promptTokens: 4 });
    step(search, [0.4, 0.1, 0.1, 0.4]);
    const outcome = step(search, [0.05, 0.02, 0.03, 0.9], [0.05, 0.02, 0.03, 0.9]);
    expect(answersOf(outcome)).toEqual([
      ["0,3", (Math.log(0.36) / 5).toFixed(3), "stop"],
      ["3", (Math.log(0.4) / 4).toFixed(3), "stop"],
    ]);
  });

  it("can't end before the fewest new tokens are made, and doesn't renormalise for it", () => {
    const search = beamSearch({ ...options, minNewTokens: 1, maxNewTokens: 1 });
    expect(answersOf(step(search, [0.1, 0.05, 0.05, 0.8]))).toEqual([["0", Math.log(0.1).toFixed(3), "length"]]);
  });

  it("judges by the longest possible length with “never” and a positive penalty", () => {
    const outcomeOf = (earlyStopping: boolean | "never"): string => {
      const search = beamSearch({ ...options, lengthPenalty: 1, maxNewTokens: 50, earlyStopping });
      step(search, [0.3, 0.29, 0.01, 0.4]);
      const ending = [0.008, 0.006, 0.006, 0.98];
      expect(step(search, ending, ending).kind).toBe("step");
      // Two have ended, the worse with ln(0.294) / 11 = −0.111; what runs has −6 or so: at 13 tokens worse, at 60 better.
      return step(search, [0.97, 0.01, 0.01, 0.01], [0.97, 0.01, 0.01, 0.01]).kind;
    };
    expect([outcomeOf(false), outcomeOf("never")]).toEqual(["end", "step"]);
  });

  it("says of every token how likely it was, where asked, along the line of its parents", () => {
    const search = beamSearch({ ...options, maxNewTokens: 2, answers: 2, logProbabilities: true });
    step(search, [0.3, 0.25, 0.2, 0.25]);
    const outcome = step(search, [0.01, 0.01, 0.01, 0.97], [0.01, 0.01, 0.01, 0.97]);
    if (outcome.kind !== "end") throw new Error("the search goes on");
    const written = outcome.answers.map(({ tokens, logProbabilities }) => [
      tokens.join(),
      logProbabilities?.map((value) => Math.exp(value).toFixed(4)).join(),
    ]);
    expect(written).toEqual([
      ["0,3", "0.3000,0.9700"],
      ["1,3", "0.2500,0.9700"],
    ]);
    for (const { score, logProbabilities } of outcome.answers) {
      expect(logProbabilities?.reduce((sum, value) => sum + value)).toBeCloseTo(score ?? NaN, 12);
    }
  });

  it("normalises logits itself", () => {
    const search = beamSearch({ ...options, maxNewTokens: 1 });
    expect(answersOf(search.next(Float32Array.of(1, 1, -50, -50)))).toEqual([["1", (-Math.log(2)).toFixed(3), "length"]]);
  });
});
