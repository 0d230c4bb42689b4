/**
 * How near a search came to deciding otherwise. Owns the measure, from the same logits that the search sees: kernels differ in the last bits with the number of rows,
 * so a row's tokens may differ in company exactly where this is as small as such a difference. Refuses to excuse anything.
 */
import { logSumExp } from "../generate/log-sum-exp.ts";
import type { Search, SearchOutcome } from "../generate/search.ts";
import type { Draw } from "../generate/draw.ts";
import type { GenerationOptions, SamplingOptions } from "../model.ts";
import { samplingProbabilities } from "../sampling.ts";

export interface WatchedRow {
  readonly generation: GenerationOptions;
  readonly promptTokens: number;
  readonly endToken: number;
  readonly vocabulary: number;
  readonly draw: Draw;
}

/** Lets the search see the logits of each of its steps; answers its end, and the smallest gap of all its decisions (of logits, log-probability sums, scores, or of draws in probability). */
export function replay(search: Search, row: WatchedRow, steps: readonly Float32Array[]): { outcome: SearchOutcome; margin: number } {
  const { generation } = row;
  const watch = (generation.numBeams ?? 1) > 1 ? watchBeams(row) : watchTexts(row);
  let margin = Infinity;
  let outcome: SearchOutcome | null = null;
  for (const logits of steps) {
    if (outcome?.kind === "end") throw new Error("the row ran on after its end");
    const before = outcome;
    outcome = search.next(logits);
    margin = Math.min(margin, watch(logits, before));
  }
  if (outcome?.kind !== "end") throw new Error("the row ended before its search");
  return { outcome, margin };
}

type Watch = (logits: Float32Array, before: SearchOutcome | null) => number;

/** Greedy and sampled: each text by itself. */
function watchTexts({ generation, endToken, vocabulary, draw }: WatchedRow): Watch {
  const { sampling, minNewTokens = 0, numReturnSequences = 1 } = generation;
  let made = 0;
  return (logits, before) => {
    const runs = Array.from({ length: numReturnSequences }, (_, text) => before?.kind !== "step" || before.step.tokens[text]?.length !== 0);
    let position = 0;
    let margin = Infinity;
    for (const [text, isRunning] of runs.entries()) {
      if (!isRunning) continue;
      const row = logits.slice(position * vocabulary, (position + 1) * vocabulary);
      if (before !== null) position += 1;
      if (made < minNewTokens) row[endToken] = -Infinity;
      margin = Math.min(margin, sampling === undefined ? gapAt(row.toSorted(), 1) : drawMargin(row, sampling, draw(text, made)));
    }
    made += 1;
    return margin;
  };
}

/** Between what ranks as the `count`-th best and the one behind it. */
function gapAt(ascending: Float32Array | Float64Array, count: number): number {
  return (ascending.at(-count) ?? Infinity) - (ascending.at(-count - 1) ?? -Infinity);
}

/** The number's distance from the ends of the drawn token's stretch, and how near the filters came to keeping another one. */
function drawMargin(row: Float32Array, { temperature = 1, topK = 0, topP = 1 }: SamplingOptions, drawn: number): number {
  const ascending = row.toSorted();
  let margin = topK > 0 && topK < row.length ? gapAt(ascending, topK) : Infinity;
  if (topP < 1) {
    const left = samplingProbabilities(row, { temperature, topK }).toSorted().toReversed();
    let better = 0;
    left.forEach((probability, rank) => {
      if (rank > 0 && probability > 0) margin = Math.min(margin, Math.abs(better - topP));
      better += probability;
    });
  }
  let sum = 0;
  for (const probability of samplingProbabilities(row, { temperature, topK, topP })) {
    sum += probability;
    // The first and last ends are nobody's decision.
    if (probability > 0 && sum < 1 - 1e-9) margin = Math.min(margin, Math.abs(sum - drawn));
  }
  return margin;
}

/** The order of the candidates that a step looks at and of the first that it doesn't, and of the scores that it weighs against each other. */
function watchBeams({ generation, promptTokens, endToken, vocabulary }: WatchedRow): Watch {
  const { numBeams: beams = 1, lengthPenalty = 0, earlyStopping = false, minNewTokens = 0, maxNewTokens } = generation;
  const scoreOf = (sum: number, newTokens: number): number => sum / (promptTokens + newTokens) ** lengthPenalty;
  const ended: { readonly sum: number; readonly score: number }[] = [];
  let running = [0];
  let made = 0;
  return (logits) => {
    made += 1;
    const candidates = running.flatMap((before, beam) => {
      const row = logits.subarray(beam * vocabulary, (beam + 1) * vocabulary);
      const normaliser = logSumExp(row);
      return Array.from(row, (logit, token) => ({
        token,
        sum: made <= minNewTokens && token === endToken ? -Infinity : before + logit - normaliser,
      }));
    });
    const best = candidates.toSorted((a, b) => b.sum - a.sum).slice(0, 2 * beams + 1);
    let margin = Infinity;
    for (const [rank, { sum }] of best.entries()) if (rank > 0) margin = Math.min(margin, (best[rank - 1]?.sum ?? sum) - sum);
    const weigh = (sum: number, newTokens: number): void => {
      // Against itself a hypothesis is weighed alike everywhere.
      for (const other of ended) if (other.sum !== sum) margin = Math.min(margin, Math.abs(scoreOf(sum, newTokens) - other.score));
    };
    for (const { token, sum } of best.slice(0, beams)) {
      if (token !== endToken) continue;
      weigh(sum, made - 1);
      ended.push({ sum, score: scoreOf(sum, made - 1) });
    }
    running = best
      .filter(({ token }) => token !== endToken)
      .slice(0, beams)
      .map(({ sum }) => sum);
    if (made >= maxNewTokens) for (const sum of running) weigh(sum, made);
    if (earlyStopping !== true && ended.length >= beams) {
      weigh(best[0]?.sum ?? -Infinity, earlyStopping === "never" && lengthPenalty > 0 ? maxNewTokens : made);
    }
    return margin;
  };
}
