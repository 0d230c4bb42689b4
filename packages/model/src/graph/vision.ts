/**
 * The vision graph: pixels → CLIP ViT → Perceiver Resampler → keys and values of every cross-attending layer.
 * Owns everything that depends on an image alone, so that it runs once per image; refuses text. Its intermediate results (patches, latents, embedding)
 * are outputs too: parity and RICES fetch them, the engine doesn't.
 */
import { attentionHeadWidth, crossAttentionLayers, patchCount, type Architecture } from "../architecture.ts";
import { createGraph, type Value } from "../onnx/graph-builder.ts";
import type { GraphDeclaration } from "../onnx/model-file.ts";
import {
  add,
  axisLength,
  concat,
  feedForward,
  layerNorm,
  matrixProduct,
  plainAttention,
  reshape,
  shapeOf,
  transpose,
  type ProductForm,
  type Wiring,
} from "./layers.ts";
import { linear } from "./linear.ts";

export function buildVisionGraph(
  architecture: Architecture,
  has: (tensor: string) => boolean,
  products: ProductForm = "float32",
  attention: Wiring["attention"] = "fused",
): GraphDeclaration {
  const { vision, crossAttention, resampler } = architecture;
  const graph = createGraph("vision");
  const wiring: Wiring = { graph, has, products, attention };
  const side = vision.imageSize;
  const pixels = graph.input("pixels", "float32", ["media", "frames", 3, side, side]);
  const mediaCount = axisLength(wiring, pixels, 0);
  const frameCount = axisLength(wiring, pixels, 1);

  const { patches, classToken } = visionTransformer(wiring, architecture, pixels);
  graph.output("patches", patches, "float32", ["images", patchCount(architecture), vision.width]);
  graph.output("embedding", clipEmbedding(wiring, architecture, classToken), "float32", ["images", vision.embeddingWidth]);

  const latents = perceiverResampler(wiring, architecture, patches, { mediaCount, frameCount });
  graph.output("latents", reshape(wiring, latents, [-1, resampler.latents, vision.width]), "float32", [
    "media",
    resampler.latents,
    vision.width,
  ]);

  const heads = crossAttention.innerWidth / attentionHeadWidth;
  for (const layer of crossAttentionLayers(architecture)) {
    for (const part of ["key", "value"] as const) {
      const projected = linear(wiring, latents, `cross.${layer}.attention.${part}`, crossAttention.innerWidth, vision.width);
      const perHead = reshape(wiring, projected, [-1, resampler.latents, heads, attentionHeadWidth]); // (media, latents, heads, 64)
      const headsFirst = transpose(wiring, perHead, [0, 2, 1, 3]); // (media, heads, latents, 64)
      graph.output(`media_${part}.${layer}`, headsFirst, "float32", ["media", heads, resampler.latents, attentionHeadWidth]);
    }
  }
  return graph.finish();
}

/** Patches after the last block, without the class token and without ln_post (OpenFlamingo was trained so), and the class token beside them. */
function visionTransformer(wiring: Wiring, architecture: Architecture, pixels: Value): { patches: Value; classToken: Value } {
  const { graph } = wiring;
  const { vision } = architecture;
  const { width, heads, patchSize } = vision;
  const side = vision.imageSize / patchSize;
  const patchTotal = patchCount(architecture);
  const sequence = patchTotal + 1;

  // The patch convolution is a product: its stride is its kernel. It is small, and all that follows rests on it: float32 always.
  const cut = reshape(wiring, pixels, [-1, 3, side, patchSize, side, patchSize]); // (images, 3, side, p, side, p)
  const byPatch = reshape(wiring, transpose(wiring, cut, [0, 2, 4, 1, 3, 5]), [-1, 3 * patchSize ** 2]); // (images · patches, 3 · p · p)
  const convolved = linear({ ...wiring, products: "float32" }, byPatch, "vision.patch_embedding", width, 3 * patchSize ** 2);
  const embedded = reshape(wiring, convolved, [-1, patchTotal, width]); // (images, patches, w)
  const classShape = shapeOf(wiring, [axisLength(wiring, embedded, 0), 1, width]);
  const classStart = graph.node("Expand", [graph.weight("vision.class_embedding", [width]), classShape]); // (images, 1, w)
  const placed = add(wiring, concat(wiring, [classStart, embedded], 1), graph.weight("vision.position_embedding", [sequence, width])); // (images, 1 + patches, w)

  let state = layerNorm(wiring, reshape(wiring, placed, [-1, width]), "vision.pre_norm", width); // (images · (1 + patches), w)
  for (let layer = 0; layer < vision.layers; layer++) {
    const name = `vision.layers.${layer}`;
    const normed = layerNorm(wiring, state, `${name}.norm_1`, width);
    const project = (part: string): Value =>
      reshape(wiring, linear(wiring, normed, `${name}.attention.${part}`, width, width), [-1, sequence, width]);
    const attended = plainAttention(wiring, project("query"), project("key"), project("value"), heads, width); // (images, 1 + patches, w)
    state = add(wiring, state, linear(wiring, reshape(wiring, attended, [-1, width]), `${name}.attention.output`, width, width));
    const raised = layerNorm(wiring, state, `${name}.norm_2`, width);
    state = add(wiring, state, feedForward(wiring, raised, `${name}.mlp`, { width, inner: vision.mlpWidth, kind: vision.activation }));
  }
  const [classToken, patches] = graph.split(reshape(wiring, state, [-1, sequence, width]), graph.integers([1, patchTotal]), 2, 1);
  if (classToken === undefined || patches === undefined) throw new Error("a split into two gave fewer parts");
  return { patches, classToken: reshape(wiring, classToken, [-1, width]) }; // (images, patches, w), (images, w)
}

/** CLIP's image embedding for RICES: class token → ln_post → projection → length 1. */
function clipEmbedding(wiring: Wiring, { vision }: Architecture, classToken: Value): Value {
  const { graph } = wiring;
  const normed = layerNorm(wiring, classToken, "vision.post_norm", vision.width);
  const projected = matrixProduct(wiring, normed, graph.weight("vision.projection", [vision.width, vision.embeddingWidth])); // (images, e)
  return graph.node("Div", [projected, graph.node("ReduceL2", [projected, graph.integers([-1])], { keepdims: 1 })]);
}

/** Learned latents that read all frames' patches (Jaegle et al. 2021; Alayrac et al. 2022, appendix A.1.1): → (media · latents, w). */
function perceiverResampler(
  wiring: Wiring,
  architecture: Architecture,
  patches: Value,
  counts: { mediaCount: Value; frameCount: Value },
): Value {
  const { graph } = wiring;
  const { resampler } = architecture;
  const { width } = architecture.vision;
  const { latents: latentCount, innerWidth } = resampler;
  const heads = innerWidth / attentionHeadWidth;

  let framed = reshape(wiring, patches, shapeOf(wiring, [counts.mediaCount, counts.frameCount, patchCount(architecture), width])); // (media, frames, patches, w)
  if (resampler.maxFrames !== null) {
    const all = graph.weight("resampler.frame_embeddings", [resampler.maxFrames, width]);
    const used = graph.node("Slice", [all, graph.integers([0]), counts.frameCount, graph.integers([0])]); // (frames, w)
    framed = add(wiring, framed, graph.node("Unsqueeze", [used, graph.integers([1])]));
  }
  const media = reshape(wiring, framed, shapeOf(wiring, [counts.mediaCount, -1, width])); // (media, frames · patches, w)
  const startShape = shapeOf(wiring, [counts.mediaCount, latentCount, width]);
  const start = graph.node("Expand", [graph.weight("resampler.latents", [latentCount, width]), startShape]); // (media, latents, w)

  let state = reshape(wiring, start, [-1, width]); // (media · latents, w)
  for (let layer = 0; layer < resampler.layers; layer++) {
    const attention = `resampler.layers.${layer}.attention`;
    const seen = layerNorm(wiring, media, `${attention}.norm_media`, width);
    const asked = layerNorm(wiring, state, `${attention}.norm_latents`, width);
    const askedByMedia = reshape(wiring, asked, [-1, latentCount, width]);
    const sources = reshape(wiring, concat(wiring, [seen, askedByMedia], 1), [-1, width]); // (media · (frames · patches + latents), w)
    const perMedia = shapeOf(wiring, [counts.mediaCount, -1, innerWidth]);
    const project = (input: Value, part: string): Value =>
      reshape(wiring, linear(wiring, input, `${attention}.${part}`, innerWidth, width), perMedia);
    const attended = plainAttention(wiring, project(asked, "query"), project(sources, "key"), project(sources, "value"), heads, innerWidth); // (media, latents, inner)
    state = add(wiring, state, linear(wiring, reshape(wiring, attended, [-1, innerWidth]), `${attention}.output`, width, innerWidth));
    const forward = `resampler.layers.${layer}.feed_forward`;
    const normed = layerNorm(wiring, state, `${forward}.norm`, width);
    state = add(wiring, state, feedForward(wiring, normed, forward, { width, inner: resampler.feedForwardWidth, kind: "gelu" }));
  }
  return layerNorm(wiring, state, "resampler.norm", width);
}
