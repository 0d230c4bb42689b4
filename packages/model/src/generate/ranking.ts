/** How likely each of some given continuations is after the prompt: classification by log-probability. Owns the sum; the prompt is read once for all. */
import { logSumExp, type Search, type SearchOutcome } from "./search.ts";

/** Answers in the order of `candidates`, each with the sum of its tokens' log-probabilities as its score. None may be empty. */
export function ranking(candidates: readonly (readonly number[])[], vocabulary: number): Search {
  let sums: number[] | null = null;
  const end = (scores: readonly number[]): SearchOutcome => ({
    kind: "end",
    answers: candidates.map((tokens, index) => ({ tokens, score: scores[index] ?? -Infinity, finish: "length" })),
  });
  return {
    beams: candidates.length,
    next: (logits) => {
      if (sums === null) {
        sums = candidates.map(([first]) => logProbability(logits, 0, first, vocabulary));
        if (candidates.every((tokens) => tokens.length === 1)) return end(sums);
        // The last token is judged by the position before it, so nobody reads it.
        return { kind: "step", step: { parents: candidates.map(() => 0), tokens: candidates.map((tokens) => tokens.slice(0, -1)) } };
      }
      let position = 0;
      return end(
        sums.map((sum, index) =>
          (candidates[index] ?? []).slice(1).reduce((total, token) => total + logProbability(logits, position++, token, vocabulary), sum),
        ),
      );
    },
  };
}

function logProbability(logits: Float32Array, position: number, token: number | undefined, vocabulary: number): number {
  const row = logits.subarray(position * vocabulary, (position + 1) * vocabulary);
  return (row[token ?? -1] ?? -Infinity) - logSumExp(row);
}
