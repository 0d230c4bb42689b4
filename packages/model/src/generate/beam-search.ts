/**
 * Beam search as Hugging Face's generate does it (transformers 4.28–4.33: BeamSearchScorer, BeamHypotheses). Owns its rules to the letter, odd ones too:
 * a score divides by the *whole* length, prompt and all; refuses to be improved.
 */
import { logSumExp } from "./log-sum-exp.ts";
import type { Answer, Search, SearchOutcome } from "./search.ts";

export interface BeamOptions {
  readonly beams: number;
  /** Tokens of prefix and row: they count in every hypothesis's length. */
  readonly promptTokens: number;
  readonly vocabulary: number;
  readonly maxNewTokens: number;
  readonly minNewTokens: number;
  readonly endToken: number;
  readonly lengthPenalty: number;
  /** true: at once when enough have ended; false: when no running beam can score better at its present length; "never": at any length. */
  readonly earlyStopping: boolean | "never";
  /** How many of the hypotheses are answered, at most `beams`. */
  readonly answers: number;
  readonly logProbabilities: boolean;
}

interface Beam {
  readonly tokens: readonly number[];
  readonly sum: number;
  /** Beside `tokens`; null where nobody asked. */
  readonly logProbabilities: readonly number[] | null;
}

interface Candidate {
  readonly beam: number;
  readonly token: number;
  readonly sum: number;
}

interface Hypothesis extends Answer {
  readonly score: number;
}

export function beamSearch(options: BeamOptions): Search {
  const { beams, promptTokens, maxNewTokens, endToken } = options;
  const hypotheses: Hypothesis[] = [];
  let running: readonly Beam[] = [{ tokens: [], sum: 0, logProbabilities: options.logProbabilities ? [] : null }];

  const scoreOf = (sum: number, newTokens: number): number => sum / (promptTokens + newTokens) ** options.lengthPenalty;
  const worst = (): number => hypotheses.reduce((least, { score }) => Math.min(least, score), Infinity);
  /** The beam with the candidate's token behind it. */
  const extended = ({ beam, token, sum }: Candidate): Beam => {
    const parent = running[beam];
    const own = parent?.logProbabilities ?? null;
    return {
      tokens: [...(parent?.tokens ?? []), token],
      sum,
      logProbabilities: own === null ? null : [...own, sum - (parent?.sum ?? 0)],
    };
  };
  const keep = ({ sum, tokens, logProbabilities }: Beam, finish: Answer["finish"]): void => {
    // The end token stands in the answer but not in the length.
    const score = scoreOf(sum, finish === "stop" ? tokens.length - 1 : tokens.length);
    if (hypotheses.length >= beams && score <= worst()) return;
    hypotheses.push({ score, tokens, logProbabilities, finish });
    if (hypotheses.length > beams) {
      const least = worst();
      hypotheses.splice(
        hypotheses.findIndex(({ score: each }) => each === least),
        1,
      );
    }
  };
  const isDone = (bestSum: number, newTokens: number): boolean => {
    if (hypotheses.length < beams || options.earlyStopping === true) return hypotheses.length >= beams;
    const attainable = options.earlyStopping === "never" && options.lengthPenalty > 0 ? maxNewTokens : newTokens;
    return worst() >= scoreOf(bestSum, attainable);
  };
  const end = (): SearchOutcome => {
    // Of equals the later one comes first, as popping from an ascending sort does.
    const best = hypotheses
      .map((hypothesis, place) => ({ hypothesis, place }))
      .toSorted((a, b) => b.hypothesis.score - a.hypothesis.score || b.place - a.place);
    return { kind: "end", answers: best.slice(0, options.answers).map(({ hypothesis }) => hypothesis) };
  };

  return {
    beams,
    next: (logits) => {
      const newTokens = (running[0]?.tokens.length ?? 0) + 1;
      const candidates = bestCandidates(logits, running, options, newTokens <= options.minNewTokens);
      const next: Candidate[] = [];
      for (const [rank, candidate] of candidates.entries()) {
        if (candidate.token !== endToken) next.push(candidate);
        else if (rank < beams) keep(extended(candidate), "stop");
        if (next.length === beams) break;
      }
      running = next.map(extended);
      if (isDone(candidates[0]?.sum ?? -Infinity, newTokens)) return end();
      if (newTokens >= maxNewTokens) {
        for (const beam of running) keep(beam, "length");
        return end();
      }
      return { kind: "step", step: { parents: next.map(({ beam }) => beam), tokens: next.map(({ token }) => [token]) } };
    },
  };
}

/** The 2 · beams best over beams × vocabulary, the best first; of equals the earlier. */
function bestCandidates(
  logits: Float32Array,
  running: readonly Beam[],
  { beams, vocabulary, endToken }: BeamOptions,
  endForbidden: boolean,
): Candidate[] {
  const wanted = 2 * beams;
  const best: Candidate[] = [];
  /** The last of them, once there are enough: nearly every token of a whole vocabulary goes no further than the comparison with it. */
  let least = Number.NaN;
  for (const [beam, { sum: before }] of running.entries()) {
    const row = logits.subarray(beam * vocabulary, (beam + 1) * vocabulary);
    const normaliser = logSumExp(row);
    for (let token = 0; token < vocabulary; token++) {
      const unbanned = before + (row[token] ?? -Infinity) - normaliser;
      if (unbanned <= least) continue;
      // The end token is taken away after the log-softmax, without renormalising.
      const sum = endForbidden && token === endToken ? -Infinity : unbanned;
      if (sum <= least) continue;
      best.splice(best.findLastIndex((other) => other.sum >= sum) + 1, 0, { beam, token, sum });
      if (best.length > wanted) best.pop();
      if (best.length === wanted) least = best[wanted - 1]?.sum ?? -Infinity;
    }
  }
  return best;
}
