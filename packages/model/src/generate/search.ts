/**
 * What to do with a row's logits: the next tokens, or the end. Owns decoding strategies, which see numbers of one item and nothing of its company;
 * refuses tensors. Greedy is the first; beams and sampling answer the same interface.
 */
export interface SearchStep {
  /** Beam i goes on from beam parents[i]; on the first step all from 0, the prompt. */
  readonly parents: readonly number[];
  readonly tokens: readonly number[];
}

export interface SearchEnd {
  /** Up to and with the end-of-chunk token where it came. */
  readonly tokens: readonly number[];
  readonly finish: "stop" | "length";
}

export interface Search {
  readonly beams: number;
  /** logits (beams, vocabulary); on the first call (1, vocabulary): the prompt's last position. */
  next(logits: Float32Array): { readonly kind: "step"; readonly step: SearchStep } | { readonly kind: "end"; readonly end: SearchEnd };
}

/** The likeliest token at each step; of equals the first. `<|endofchunk|>` ends a text and has nothing to do with the service's chunks of items. */
export function greedySearch(options: { readonly maxNewTokens: number; readonly minNewTokens: number; readonly endToken: number }): Search {
  const tokens: number[] = [];
  return {
    beams: 1,
    next: (logits) => {
      const token = likeliest(logits, tokens.length < options.minNewTokens ? options.endToken : null);
      tokens.push(token);
      if (token === options.endToken) return { kind: "end", end: { tokens, finish: "stop" } };
      if (tokens.length >= options.maxNewTokens) return { kind: "end", end: { tokens, finish: "length" } };
      return { kind: "step", step: { parents: [0], tokens: [token] } };
    },
  };
}

function likeliest(logits: Float32Array, forbidden: number | null): number {
  let best = -1;
  let bestLogit = -Infinity;
  logits.forEach((logit, token) => {
    if (token === forbidden || (best !== -1 && logit <= bestLogit)) return;
    best = token;
    bestLogit = logit;
  });
  return best;
}
