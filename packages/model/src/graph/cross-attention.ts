/**
 * Gated cross attention of text to media and the gated feed-forward after it (Alayrac et al. 2022, section 3.1.2; OpenFlamingo's helpers.py).
 * Owns the rule that a token sees only its latest media, and that one before the first media gets exactly nothing; refuses images.
 */
import { attentionHeadWidth } from "../architecture.ts";
import type { Value } from "../onnx/graph-builder.ts";
import type { DecoderRun, MediaMask } from "./decoder-run.ts";
import {
  add,
  axisLength,
  feedForward,
  layerNorm,
  matrixProduct,
  multiply,
  range,
  reshape,
  shapeOf,
  softmax,
  toFloat,
  transpose,
  type Wiring,
} from "./layers.ts";
import { linear } from "./linear.ts";
import { unseen } from "./positions.ts";

/** For all layers at once: bias (groups, 1, group tokens, media · latents), and 1 or 0 for tokens that see a media or none (tokens, 1). */
export function prepareMediaMask(
  wiring: Wiring,
  inputs: { readonly groups: Value; readonly tokenMedia: Value; readonly mediaKey: Value; readonly latents: number },
): MediaMask {
  const { graph } = wiring;
  const mediaOfLatent = graph.node("Div", [range(wiring, axisLength(wiring, inputs.mediaKey, 2)), graph.integer(inputs.latents)]); // (media · latents)
  const mediaOfToken = reshape(wiring, inputs.tokenMedia, shapeOf(wiring, [inputs.groups, 1, -1, 1])); // (groups, 1, group tokens, 1)
  const own = graph.node("Equal", [mediaOfToken, mediaOfLatent]); // (groups, 1, group tokens, media · latents)
  const sees = graph.node("GreaterOrEqual", [reshape(wiring, inputs.tokenMedia, [-1, 1]), graph.integer(0)]);
  return { bias: graph.node("Where", [own, graph.float(0), graph.float(unseen)]), sees: toFloat(wiring, sees) };
}

export function crossAttentionBlock(
  wiring: Wiring,
  run: DecoderRun,
  state: Value,
  layer: number,
  media: { readonly key: Value; readonly value: Value },
): Value {
  const { decoder, crossAttention } = run.architecture;
  const { width } = decoder;
  const name = `cross.${layer}`;
  const attended = gated(wiring, mediaAttention(wiring, run, state, `${name}.attention`, media), `${name}.attention.gate`);
  const seen = add(wiring, state, attended);
  const normed = layerNorm(wiring, seen, `${name}.feed_forward.norm`, width);
  const forwarded = feedForward(wiring, normed, `${name}.feed_forward`, { width, inner: crossAttention.feedForwardWidth, kind: "gelu" });
  return add(wiring, seen, gated(wiring, forwarded, `${name}.feed_forward.gate`));
}

function mediaAttention(
  wiring: Wiring,
  run: DecoderRun,
  state: Value,
  name: string,
  media: { readonly key: Value; readonly value: Value },
): Value {
  const { graph } = wiring;
  const { width } = run.architecture.decoder;
  const { innerWidth } = run.architecture.crossAttention;
  const heads = innerWidth / attentionHeadWidth;
  const projected = linear(wiring, layerNorm(wiring, state, `${name}.norm`, width), `${name}.query`, innerWidth, width); // (tokens, inner)
  const scaled = multiply(wiring, projected, graph.float(attentionHeadWidth ** -0.5));
  const byGroup = reshape(wiring, scaled, shapeOf(wiring, [run.groups, -1, heads, attentionHeadWidth]));
  const query = transpose(wiring, byGroup, [0, 2, 1, 3]); // (groups, heads, group tokens, 64)
  const scores = add(wiring, matrixProduct(wiring, query, transpose(wiring, media.key, [0, 1, 3, 2])), run.mediaMask.bias); // (groups, heads, group tokens, media · latents)
  const mixed = matrixProduct(wiring, softmax(wiring, scores), media.value); // (groups, heads, group tokens, 64)
  const joined = reshape(wiring, transpose(wiring, mixed, [0, 2, 1, 3]), [-1, innerWidth]); // (tokens, inner)
  return linear(wiring, multiply(wiring, joined, run.mediaMask.sees), `${name}.output`, width, innerWidth);
}

function gated(wiring: Wiring, value: Value, gate: string): Value {
  const { graph } = wiring;
  return multiply(wiring, value, graph.node("Tanh", [graph.weight(gate, [1])]));
}
