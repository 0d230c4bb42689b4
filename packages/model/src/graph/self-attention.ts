/**
 * Self-attention over three sources at once: the shared prefix, the group's past, the new tokens. Owns the layouts in which each is multiplied;
 * refuses masks and positions, which `positions.ts` has prepared.
 */
import type { Value } from "../onnx/graph-builder.ts";
import type { DecoderRun } from "./decoder-run.ts";
import {
  add,
  axisLength,
  concat,
  layerNorm,
  matrixProduct,
  multiply,
  reshape,
  shapeOf,
  softmax,
  transpose,
  type Wiring,
} from "./layers.ts";
import { linear } from "./linear.ts";
import { rotate } from "./positions.ts";

interface Past {
  readonly prefixKey: Value;
  readonly prefixValue: Value;
  readonly pastKey: Value;
  readonly pastValue: Value;
}

/** input (tokens, d) → attended (tokens, d) before the output projection; the new K and V as (groups, heads, group tokens, headWidth). */
export function selfAttention(
  wiring: Wiring,
  run: DecoderRun,
  input: Value,
  name: string,
  past: Past,
): { attended: Value; newKey: Value; newValue: Value } {
  const { graph } = wiring;
  const { decoder } = run.architecture;
  const { heads, width } = decoder;
  const headWidth = width / heads;
  const { prefixBias, surplus, pastBias, newBias } = run.sight;

  const query = multiply(wiring, placedHeads(wiring, run, input, name, "query"), graph.float(decoder.softmaxScale)); // (tokens, heads, headWidth)
  const key = placedHeads(wiring, run, input, name, "key");
  const values = linear(wiring, input, `${name}.value`, width, width); // (tokens, d)

  const byGroup = shapeOf(wiring, [run.groups, -1, heads, headWidth]);
  const grouped = (value: Value): Value => transpose(wiring, reshape(wiring, value, byGroup), [0, 2, 1, 3]); // (groups, heads, group tokens, headWidth)
  const groupQuery = grouped(query);
  const newKey = grouped(key);
  const newValue = grouped(values);
  const prefixQuery = transpose(wiring, query, [1, 0, 2]); // (heads, tokens, headWidth)

  const flipped = (value: Value): Value => transpose(wiring, value, [0, 1, 3, 2]);
  const pastScores = add(wiring, matrixProduct(wiring, groupQuery, flipped(past.pastKey)), pastBias); // (groups, heads, group tokens, past)
  const newScores = add(wiring, matrixProduct(wiring, groupQuery, flipped(newKey)), newBias); // (groups, heads, group tokens, group tokens)
  const ownScores = transpose(wiring, concat(wiring, [pastScores, newScores], -1), [1, 0, 2, 3]); // (heads, groups, group tokens, own)
  const ownLength = axisLength(wiring, ownScores, 3);
  const rawPrefixScores = matrixProduct(wiring, prefixQuery, transpose(wiring, past.prefixKey, [0, 2, 1])); // (heads, tokens, prefix)
  const prefixScores = prefixBias === null ? rawPrefixScores : add(wiring, rawPrefixScores, prefixBias);
  const allScores = concat(wiring, [surplus, prefixScores, reshape(wiring, ownScores, shapeOf(wiring, [heads, -1, ownLength]))], -1); // (heads, tokens, surplus + prefix + own)

  const lengths = shapeOf(wiring, [axisLength(wiring, past.prefixValue, 1), ownLength]);
  const [prefixWeights, ownWeights] = graph.split(softmax(wiring, allScores), lengths, 2, -1);
  if (prefixWeights === undefined || ownWeights === undefined) throw new Error("a split into two gave fewer parts");
  const ownByGroup = transpose(wiring, reshape(wiring, ownWeights, shapeOf(wiring, [heads, run.groups, -1, ownLength])), [1, 0, 2, 3]);
  const ownParts = graph.split(ownByGroup, shapeOf(wiring, [axisLength(wiring, pastScores, 3), axisLength(wiring, newScores, 3)]), 2, -1);
  const [pastWeights, newWeights] = ownParts;
  if (pastWeights === undefined || newWeights === undefined) throw new Error("a split into two gave fewer parts");

  const fromOwn = add(wiring, matrixProduct(wiring, pastWeights, past.pastValue), matrixProduct(wiring, newWeights, newValue)); // (groups, heads, group tokens, headWidth)
  const fromPrefix = matrixProduct(wiring, prefixWeights, past.prefixValue); // (heads, tokens, headWidth)
  const attended = add(
    wiring,
    reshape(wiring, transpose(wiring, fromOwn, [0, 2, 1, 3]), [-1, width]),
    reshape(wiring, transpose(wiring, fromPrefix, [1, 0, 2]), [-1, width]),
  ); // (tokens, d)
  return { attended, newKey, newValue };
}

/** Query or key: projected, normalised over its whole width where the model does so, split into heads, turned where positions are rotary. */
function placedHeads(wiring: Wiring, run: DecoderRun, input: Value, name: string, part: "query" | "key"): Value {
  const { heads, width, queryKeyNorm, positions, layerNormEps } = run.architecture.decoder;
  const headWidth = width / heads;
  const projected = linear(wiring, input, `${name}.${part}`, width, width);
  const normed = queryKeyNorm ? layerNorm(wiring, projected, `${name}.${part}_norm`, width, layerNormEps) : projected;
  const split = reshape(wiring, normed, [-1, heads, headWidth]); // (tokens, heads, headWidth)
  return positions.kind === "rotary" && run.sight.rotation !== null
    ? rotate(wiring, split, run.sight.rotation, positions.width, headWidth)
    : split;
}
