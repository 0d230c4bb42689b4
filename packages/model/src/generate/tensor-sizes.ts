/** The sizes of the tensors that pass between host and graphs. Owns what follows from an architecture for them; refuses anything that a run decides. */
import { attentionHeadWidth, crossAttentionLayers, type Architecture } from "../architecture.ts";

export interface TensorSizes {
  readonly layers: number;
  readonly heads: number;
  readonly headWidth: number;
  readonly vocabulary: number;
  readonly crossLayers: readonly number[];
  readonly crossHeads: number;
  readonly crossHeadWidth: number;
  readonly latents: number;
  /** K and V of one token in all layers. */
  readonly tokenBytes: number;
  /** K and V of one media in all cross-attending layers. */
  readonly mediaBytes: number;
}

const bytesPerFloat = 4;

export function tensorSizes(architecture: Architecture): TensorSizes {
  const { decoder, crossAttention, resampler } = architecture;
  const crossLayers = crossAttentionLayers(architecture);
  return {
    layers: decoder.layers,
    heads: decoder.heads,
    headWidth: decoder.width / decoder.heads,
    vocabulary: decoder.vocabularySize,
    crossLayers,
    crossHeads: crossAttention.innerWidth / attentionHeadWidth,
    crossHeadWidth: attentionHeadWidth,
    latents: resampler.latents,
    tokenBytes: 2 * decoder.layers * decoder.width * bytesPerFloat,
    mediaBytes: 2 * crossLayers.length * resampler.latents * crossAttention.innerWidth * bytesPerFloat,
  };
}
