/** Retrieval of support examples by image similarity (RICES: Yang et al. 2022, as OpenFlamingo uses it). Owns the order; refuses to compute embeddings. Pure. */

export interface EmbeddedImage<Id> {
  readonly id: Id;
  /** CLIP's image embedding; its length doesn't matter. */
  readonly embedding: Float32Array;
}

/** The `shots` nearest of the pool by cosine, the most similar *last*, next to the query. Of equals the earlier in the pool counts as nearer. */
export function nearestExamples<Id>(query: Float32Array, pool: readonly EmbeddedImage<Id>[], shots: number): Id[] {
  return pool
    .map(({ id, embedding }, place) => ({ id, place, similarity: cosine(query, embedding) }))
    .toSorted((a, b) => b.similarity - a.similarity || a.place - b.place)
    .slice(0, shots)
    .toReversed()
    .map(({ id }) => id);
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [product, squareA, squareB] = [0, 0, 0];
  for (let index = 0; index < a.length; index += 1) {
    const [x, y] = [a[index] ?? 0, b[index] ?? 0];
    product += x * y;
    squareA += x * x;
    squareB += y * y;
  }
  return squareA === 0 || squareB === 0 ? 0 : product / Math.sqrt(squareA * squareB);
}
