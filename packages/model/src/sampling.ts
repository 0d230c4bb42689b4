/** What sampling may choose from: one row of logits → probabilities, filtered as Hugging Face's generate does (temperature, then top_k, then top_p). Pure; refuses to draw. */

export interface SamplingFilters {
  /** Greater than 0; logits are divided by it. Default 1. */
  readonly temperature?: number;
  /** Keeps the k best and what equals the k-th; 0, the default, keeps all. */
  readonly topK?: number;
  /** Keeps a token while the sum of strictly better ones, of those that top_k left, is below it; 1, the default, keeps all. */
  readonly topP?: number;
}

/** Probabilities over the vocabulary that sum to 1; exactly 0 where a filter took a token away. */
export function samplingProbabilities(logits: Float32Array, { temperature = 1, topK = 0, topP = 1 }: SamplingFilters = {}): Float64Array {
  const order = Uint32Array.from(logits.keys()).toSorted((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
  const best = logits[order[0] ?? 0] ?? 0;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - best) / temperature));

  let kept = order.length;
  if (topK > 0 && topK < kept) {
    const last = logits[order[topK - 1] ?? 0] ?? 0;
    while (kept > topK && (logits[order[kept - 1] ?? 0] ?? 0) < last) kept -= 1;
  }
  let total = 0;
  for (let rank = 0; rank < kept; rank += 1) total += weights[order[rank] ?? 0] ?? 0;

  if (topP < 1) {
    let better = 0;
    let sum = 0;
    let rank = 0;
    for (; rank < kept; rank += 1) {
      const equalsTheOneBefore = rank > 0 && logits[order[rank] ?? 0] === logits[order[rank - 1] ?? 0];
      if (!equalsTheOneBefore) better = sum;
      if (rank > 0 && better >= topP * total) break;
      sum += weights[order[rank] ?? 0] ?? 0;
    }
    kept = rank;
    total = sum;
  }
  const probabilities = new Float64Array(logits.length);
  for (let rank = 0; rank < kept; rank += 1) {
    const token = order[rank] ?? 0;
    probabilities[token] = (weights[token] ?? 0) / total;
  }
  return probabilities;
}
