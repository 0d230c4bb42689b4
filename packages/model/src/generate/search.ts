/**
 * What to do with an item's logits: the next tokens, or the end. Owns the interface of decoding strategies, which see numbers of one item and nothing of
 * its company; refuses tensors and caches. One file per strategy: greedy here, beam-search.ts, ranking.ts.
 */
export interface SearchStep {
  /** Beam i goes on from what beam parents[i] has seen; after the prompt all from 0. */
  readonly parents: readonly number[];
  /** What each beam reads next: one token where it is generated, several where they are known. */
  readonly tokens: readonly (readonly number[])[];
}

export interface Answer {
  /** Up to and with the end-of-chunk token where it came. */
  readonly tokens: readonly number[];
  /** Of beams and candidates; greedy answers have none. */
  readonly score: number | null;
  readonly finish: "stop" | "length";
}

export type SearchOutcome =
  | { readonly kind: "step"; readonly step: SearchStep }
  /** The best first. */
  | { readonly kind: "end"; readonly answers: readonly Answer[] };

export interface Search {
  /** Rows that the item has in a decode run. */
  readonly beams: number;
  /** First the logits of the prompt's last position, then those of every position of the last step's tokens, beam after beam: (positions, vocabulary). */
  next(logits: Float32Array): SearchOutcome;
}

/** The likeliest token at each step; of equals the first. `<|endofchunk|>` ends a text and has nothing to do with the service's chunks of items. */
export function greedySearch(options: { readonly maxNewTokens: number; readonly minNewTokens: number; readonly endToken: number }): Search {
  const tokens: number[] = [];
  const end = (finish: Answer["finish"]): SearchOutcome => ({ kind: "end", answers: [{ tokens, score: null, finish }] });
  return {
    beams: 1,
    next: (logits) => {
      const token = likeliest(logits, tokens.length < options.minNewTokens ? options.endToken : null);
      tokens.push(token);
      if (token === options.endToken) return end("stop");
      if (tokens.length >= options.maxNewTokens) return end("length");
      return { kind: "step", step: { parents: [0], tokens: [[token]] } };
    },
  };
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

/** log Σ exp of one row: what its logits are normalised by. */
export function logSumExp(logits: Float32Array): number {
  let most = -Infinity;
  for (const logit of logits) if (logit > most) most = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return most + Math.log(sum);
}
