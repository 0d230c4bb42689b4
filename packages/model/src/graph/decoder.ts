/**
 * The decoder graph: one for prefill and decode, for one row and for many, with a shared prefix or without.
 * Owns the language model's layers and the gated cross attention before them. Refuses to hold a cache: it takes K and V of what came before and gives only
 * those of the new tokens.
 *
 * A run's `rows` stand in `groups` of equal size (a group: the beams of one item; greedy rows are groups of one). What a group shares, every row of
 * it sees: its media, and one pool of past K and V, of which `visible` says per row which entries are its own past. So a beam that changes its parent
 * moves no cache. All rows share the prefix: its scores are one product per head over all rows' queries (Hydragen, arXiv 2402.05099). Both join the
 * new tokens' own scores under one softmax. Tokens may be padded on the right: what lies behind a row's end is seen by nobody.
 * The prefix's values may begin with rows that have no key, and that nobody sees: WebGPU's product over an empty prefix ends the process, so that there
 * at least one such row is given.
 */
import { attentionHeadWidth, crossAttentionLayers, type Architecture } from "../architecture.ts";
import { createGraph, type Value } from "../onnx/graph-builder.ts";
import type { GraphDeclaration } from "../onnx/model-file.ts";
import type { DecoderRun } from "./decoder-run.ts";
import { add, axisLength, feedForward, layerNorm, reshape, type ProductForm, type Wiring } from "./layers.ts";
import { headProduct, linear, lookUp } from "./linear.ts";
import { crossAttentionBlock, prepareMediaMask } from "./cross-attention.ts";
import { preparePositions } from "./positions.ts";
import { selfAttention } from "./self-attention.ts";

export function buildDecoderGraph(
  architecture: Architecture,
  has: (tensor: string) => boolean,
  products: ProductForm = "float32",
): GraphDeclaration {
  const { decoder, crossAttention, resampler } = architecture;
  const graph = createGraph("decoder");
  const wiring: Wiring = { graph, has, products, attention: "spelled" };
  const headWidth = decoder.width / decoder.heads;
  const crossHeads = crossAttention.innerWidth / attentionHeadWidth;
  const crossLayers = new Set(crossAttentionLayers(architecture));

  const tokens = graph.input("tokens", "int64", ["rows", "length"]);
  const positions = graph.input("positions", "int64", ["rows", "length"]);
  const logitPositions = graph.input("logit_positions", "int64", ["logits"]); // into rows · length
  const visible = graph.input("visible", "bool", ["rows", "past"]);
  const tokenMedia = graph.input("token_media", "int64", ["rows", "length"]); // which of its group's media a token sees; −1: none
  const pastPositions = decoder.positions.kind === "alibi" ? graph.input("past_positions", "int64", ["groups", "past"]) : null;
  const layers = Array.from({ length: decoder.layers }, (_, layer) => ({
    prefixKey: graph.input(`prefix_key.${layer}`, "float32", [decoder.heads, "prefix", headWidth]),
    prefixValue: graph.input(`prefix_value.${layer}`, "float32", [decoder.heads, "surplus_and_prefix", headWidth]),
    pastKey: graph.input(`past_key.${layer}`, "float32", ["groups", decoder.heads, "past", headWidth]),
    pastValue: graph.input(`past_value.${layer}`, "float32", ["groups", decoder.heads, "past", headWidth]),
    media: crossLayers.has(layer)
      ? {
          key: graph.input(`media_key.${layer}`, "float32", ["groups", crossHeads, "media_latents", attentionHeadWidth]),
          value: graph.input(`media_value.${layer}`, "float32", ["groups", crossHeads, "media_latents", attentionHeadWidth]),
        }
      : null,
  }));
  const [first] = layers;
  const firstMedia = layers.find((layer) => layer.media !== null)?.media;
  if (first === undefined || firstMedia === undefined || firstMedia === null)
    throw new Error("the architecture has no layer that cross-attends");

  const groups = axisLength(wiring, first.pastKey, 0);
  const { prefixKey, prefixValue } = first;
  const sight = preparePositions(wiring, decoder, { groups, positions, visible, pastPositions, prefixKey, prefixValue });
  const mediaMask = prepareMediaMask(wiring, { groups, tokenMedia, mediaKey: firstMedia.key, latents: resampler.latents });
  const run: DecoderRun = { architecture, groups, sight, mediaMask };

  const vocabularyShape = [decoder.vocabularySize, decoder.width] as const;
  let state = lookUp(wiring, reshape(wiring, tokens, [-1]), "decoder.embedding", vocabularyShape); // (tokens, d) with tokens = rows · length
  layers.forEach((past, layer) => {
    if (past.media !== null) state = crossAttentionBlock(wiring, run, state, layer, past.media);
    const block = decoderBlock(wiring, run, state, layer, past);
    ({ state } = block);
    graph.output(`new_key.${layer}`, block.newKey, "float32", ["groups", decoder.heads, "group_tokens", headWidth]);
    graph.output(`new_value.${layer}`, block.newValue, "float32", ["groups", decoder.heads, "group_tokens", headWidth]);
  });

  const asked = graph.node("Gather", [state, logitPositions], { axis: 0 }); // (logits, d)
  const normed = layerNorm(wiring, asked, "decoder.norm", decoder.width, decoder.layerNormEps);
  const logits = headProduct(wiring, normed, decoder.tiedHead ? "decoder.embedding" : "decoder.head", vocabularyShape);
  graph.output("logits", logits, "float32", ["logits", decoder.vocabularySize]);
  return graph.finish();
}

interface LayerPast {
  readonly prefixKey: Value;
  readonly prefixValue: Value;
  readonly pastKey: Value;
  readonly pastValue: Value;
}

/** The pretrained language model's own block: attention and feed-forward, one after the other or (NeoX) side by side. */
function decoderBlock(
  wiring: Wiring,
  run: DecoderRun,
  state: Value,
  layer: number,
  past: LayerPast,
): { state: Value; newKey: Value; newValue: Value } {
  const { decoder } = run.architecture;
  const { width, layerNormEps } = decoder;
  const name = `decoder.layers.${layer}`;
  const mlp = (input: Value): Value => {
    const normed = layerNorm(wiring, input, `${name}.norm_2`, width, layerNormEps);
    return feedForward(wiring, normed, `${name}.mlp`, { width, inner: decoder.mlpWidth, kind: "gelu" });
  };
  const normed = layerNorm(wiring, state, `${name}.norm_1`, width, layerNormEps);
  const { attended, newKey, newValue } = selfAttention(wiring, run, normed, `${name}.attention`, past);
  const projected = linear(wiring, attended, `${name}.attention.output`, width, width);
  const afterAttention = add(wiring, state, projected);
  return { state: add(wiring, afterAttention, mlp(decoder.residual === "parallel" ? state : afterAttention)), newKey, newValue };
}
