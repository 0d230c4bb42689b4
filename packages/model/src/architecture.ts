/**
 * The architecture of one Flamingo model, as `flamingo.json` stores it: every size and every choice that the graphs depend on.
 * Owns the schema; refuses weights, tokenizers and anything that can be derived from these numbers. Facts and sources: Alayrac et al. 2022, OpenFlamingo.
 */
import { z } from "zod";

const size = z.int().positive();

const visionSchema = z.strictObject({
  /** Side of the square that pixels are resized and cropped to. */
  imageSize: size,
  patchSize: size,
  width: size,
  layers: size,
  heads: size,
  mlpWidth: size,
  activation: z.enum(["quick_gelu", "gelu"]),
  /** Width of the CLIP embedding (for RICES), after the projection. */
  embeddingWidth: size,
});

const resamplerSchema = z.strictObject({
  layers: size,
  /** Learned latents: what one media is condensed to. */
  latents: size,
  /** Heads × 64. */
  innerWidth: size,
  feedForwardWidth: size,
  /** Frame embeddings (video); null where the model has none. */
  maxFrames: size.nullable(),
});

const crossAttentionSchema = z.strictObject({
  /** Layer i cross-attends if (i + 1) mod every = 0. */
  every: size,
  /** Heads × 64. */
  innerWidth: size,
  feedForwardWidth: size,
});

const positionsSchema = z.discriminatedUnion("kind", [
  /** One slope per head; attention adds slope × (key position − query position). */
  z.strictObject({ kind: z.literal("alibi"), slopes: z.array(z.number().positive()) }),
  /** Half-split rotation of the first `width` numbers of each head. */
  z.strictObject({ kind: z.literal("rotary"), width: size, base: z.number().positive() }),
]);

const decoderSchema = z.strictObject({
  width: size,
  layers: size,
  heads: size,
  mlpWidth: size,
  /** The tokenizer's size with the added tokens, not the language model's padded one. */
  vocabularySize: size,
  maxPositions: size.nullable(),
  positions: positionsSchema,
  /** LayerNorm over the whole query and the whole key, before they are split into heads. */
  queryKeyNorm: z.boolean(),
  residual: z.enum(["sequential", "parallel"]),
  layerNormEps: z.number().positive(),
  softmaxScale: z.number().positive(),
  /** True where the output head is the input embedding. */
  tiedHead: z.boolean(),
});

export const architectureSchema = z
  .strictObject({
    vision: visionSchema,
    resampler: resamplerSchema,
    crossAttention: crossAttentionSchema,
    decoder: decoderSchema,
  })
  .superRefine((architecture, context) => {
    const { vision, resampler, crossAttention, decoder } = architecture;
    const refuse = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
    if (vision.imageSize % vision.patchSize !== 0) refuse(["vision", "patchSize"], "must divide imageSize");
    if (vision.width % vision.heads !== 0) refuse(["vision", "heads"], "must divide width");
    if (resampler.innerWidth % attentionHeadWidth !== 0) refuse(["resampler", "innerWidth"], `must be a multiple of ${attentionHeadWidth}`);
    if (crossAttention.innerWidth % attentionHeadWidth !== 0)
      refuse(["crossAttention", "innerWidth"], `must be a multiple of ${attentionHeadWidth}`);
    if (decoder.width % decoder.heads !== 0) refuse(["decoder", "heads"], "must divide width");
    if (decoder.positions.kind === "alibi" && decoder.positions.slopes.length !== decoder.heads)
      refuse(["decoder", "positions", "slopes"], "must hold one slope per head");
    if (
      decoder.positions.kind === "rotary" &&
      (decoder.positions.width % 2 !== 0 || decoder.positions.width > decoder.width / decoder.heads)
    )
      refuse(["decoder", "positions", "width"], "must be even and no wider than a head");
    if (crossAttention.every > decoder.layers) refuse(["crossAttention", "every"], "leaves no layer that cross-attends");
  });

export type Architecture = z.infer<typeof architectureSchema>;

/** A head of the resampler and of the cross attention is always this wide. */
export const attentionHeadWidth = 64;

/** The decoder layers that cross-attend, ascending: those with (i + 1) mod every = 0. */
export function crossAttentionLayers(architecture: Architecture): number[] {
  const { every } = architecture.crossAttention;
  return Array.from({ length: architecture.decoder.layers }, (_, layer) => layer).filter((layer) => (layer + 1) % every === 0);
}

/** Patches of one image: what the vision transformer gives the resampler, without the class token. */
export function patchCount(architecture: Architecture): number {
  return (architecture.vision.imageSize / architecture.vision.patchSize) ** 2;
}
