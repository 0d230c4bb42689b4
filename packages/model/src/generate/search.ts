/**
 * What to do with an item's logits: the next tokens, or the end. Owns the interface of decoding strategies, which see numbers of one item and nothing of
 * its company; refuses tensors and caches. One file per strategy: greedy here, sampled-search.ts, beam-search.ts, ranking.ts.
 */
import { logSumExp } from "./log-sum-exp.ts";

export interface SearchStep {
  /** Beam i goes on from what beam parents[i] has seen; after the prompt all from 0. */
  readonly parents: readonly number[];
  /** What each beam reads next: one token where it is generated, several where they are known. */
  readonly tokens: readonly (readonly number[])[];
}

export interface Answer {
  /** Up to and with the end-of-chunk token where it came. */
  readonly tokens: readonly number[];
  /** Of beams and candidates; greedy and sampled answers have none. */
  readonly score: number | null;
  /** Beside `tokens`, where they were asked for: natural logarithms under the model's own distribution, before any filter or ban. */
  readonly logProbabilities: readonly number[] | null;
  readonly finish: "stop" | "length";
}

export type SearchOutcome =
  | { readonly kind: "step"; readonly step: SearchStep }
  /** Of beams the best first; of draws and candidates in their own order. */
  | { readonly kind: "end"; readonly answers: readonly Answer[] };

export interface Search {
  /** Rows that the item has in a decode run. */
  readonly beams: number;
  /** Keeps nothing of `logits`, whose memory goes afterwards. First the logits of the prompt's last position, then those of every position of the last step's tokens, beam after beam: (positions, vocabulary). */
  next(logits: Float32Array): SearchOutcome;
}

/** What ends a text that goes on from one token to the next. */
export interface TextLimits {
  readonly maxNewTokens: number;
  /** Until so many tokens are made the end token can't be chosen. */
  readonly minNewTokens: number;
  readonly endToken: number;
  /** Whether the text of these tokens holds a stop string; null: there are none. */
  readonly isStopped: ((tokens: readonly number[]) => boolean) | null;
}

/** The likeliest token at each step; of equals the first. `<|endofchunk|>` ends a text and has nothing to do with the service's chunks of items. */
export function greedySearch(options: TextLimits & { readonly logProbabilities: boolean }): Search {
  const tokens: number[] = [];
  const logProbabilities: number[] | null = options.logProbabilities ? [] : null;
  return {
    beams: 1,
    next: (logits) => {
      const token = likeliest(logits, tokens.length < options.minNewTokens ? options.endToken : null);
      tokens.push(token);
      logProbabilities?.push(logProbability(logits, token));
      const finish = finishOf(tokens, options);
      if (finish !== null) return { kind: "end", answers: [{ tokens, score: null, logProbabilities, finish }] };
      return { kind: "step", step: { parents: [0], tokens: [[token]] } };
    },
  };
}

/** Why a text ends with its newest token; null while it goes on. */
export function finishOf(tokens: readonly number[], { endToken, isStopped, maxNewTokens }: TextLimits): Answer["finish"] | null {
  if (tokens.at(-1) === endToken || isStopped?.(tokens) === true) return "stop";
  return tokens.length >= maxNewTokens ? "length" : null;
}

function likeliest(logits: Float32Array, forbidden: number | null): number {
  let best = -1;
  let bestLogit = -Infinity;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token] ?? -Infinity;
    if (token === forbidden || (best !== -1 && logit <= bestLogit)) continue;
    best = token;
    bestLogit = logit;
  }
  return best;
}

/** The natural logarithm of a token's probability under one row of logits. */
export function logProbability(logits: Float32Array, token: number): number {
  return (logits[token] ?? -Infinity) - logSumExp(logits);
}
