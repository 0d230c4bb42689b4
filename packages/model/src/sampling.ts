/** What sampling may choose from: one row of logits → probabilities, filtered as Hugging Face's generate does (temperature, then top_k, then top_p). Pure; refuses to draw. */

export interface SamplingFilters {
  /** Greater than 0; logits are divided by it. Default 1. */
  readonly temperature?: number;
  /** Keeps the k best and what equals the k-th; 0, the default, keeps all. */
  readonly topK?: number;
  /** Keeps a token while the sum of strictly better ones, of those that top_k left, is below it; 1, the default, keeps all. */
  readonly topP?: number;
}

/** Probabilities over the vocabulary that sum to 1; exactly 0 where a filter took a token away. Loops are plain: they see a whole vocabulary for every token of every row. */
export function samplingProbabilities(logits: Float32Array, { temperature = 1, topK = 0, topP = 1 }: SamplingFilters = {}): Float64Array {
  let best = -Infinity;
  for (const logit of logits) if (logit > best) best = logit;
  const weigh = (logit: number): number => Math.exp((logit - best) / temperature);
  const least = leastKept(logits, weigh, topK, topP);
  const probabilities = new Float64Array(logits.length);
  let total = 0;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token] ?? -Infinity;
    // What can't come stays away, also where nothing is filtered.
    if (logit < least || logit === -Infinity) continue;
    total += probabilities[token] = weigh(logit);
  }
  for (let token = 0; token < logits.length; token++) probabilities[token] = (probabilities[token] ?? 0) / total;
  return probabilities;
}

/** Equal logits share their fate, so what the filters keep is said by the smallest logit kept; and sorting numbers alone is many times as quick as sorting tokens. */
function leastKept(logits: Float32Array, weigh: (logit: number) => number, topK: number, topP: number): number {
  const limited = topK > 0 && topK < logits.length;
  if (!limited && topP >= 1) return -Infinity;
  const ascending = logits.toSorted();
  const at = (rank: number): number => ascending[ascending.length - 1 - rank] ?? -Infinity;
  const least = limited ? at(topK - 1) : -Infinity;
  if (topP >= 1) return least;

  let kept = 0;
  let total = 0;
  for (; kept < ascending.length && at(kept) >= least; kept++) total += weigh(at(kept));
  let better = 0;
  let sum = 0;
  for (let rank = 0; rank < kept; rank++) {
    if (rank > 0 && at(rank) !== at(rank - 1)) better = sum;
    if (rank > 0 && better >= topP * total) return at(rank - 1);
    sum += weigh(at(rank));
  }
  return least;
}
