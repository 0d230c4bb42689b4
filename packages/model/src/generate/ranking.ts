/** How likely each of some given continuations is after the prompt: classification by log-probability. Owns the sum; the prompt is read once for all. */
import { logProbability, type Search, type SearchOutcome } from "./search.ts";

/** Answers in the order of `candidates`, each with the sum of its tokens' log-probabilities as its score. None may be empty. */
export function ranking(candidates: readonly (readonly number[])[], vocabulary: number): Search {
  let sums: number[] | null = null;
  const end = (scores: readonly number[]): SearchOutcome => ({
    kind: "end",
    answers: candidates.map((tokens, index) => ({ tokens, score: scores[index] ?? -Infinity, logProbabilities: null, finish: "length" })),
  });
  return {
    beams: candidates.length,
    next: (logits) => {
      if (sums === null) {
        sums = candidates.map(([first]) => logProbability(logits, first ?? -1));
        if (candidates.every((tokens) => tokens.length === 1)) return end(sums);
        // The last token is judged by the position before it, so nobody reads it.
        return { kind: "step", step: { parents: candidates.map(() => 0), tokens: candidates.map((tokens) => tokens.slice(0, -1)) } };
      }
      let position = 0;
      const nextRow = (): Float32Array => logits.subarray(position * vocabulary, ++position * vocabulary);
      return end(
        sums.map((sum, index) =>
          (candidates[index] ?? []).slice(1).reduce((total, token) => total + logProbability(nextRow(), token), sum),
        ),
      );
    },
  };
}
