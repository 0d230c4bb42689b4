/** The smallest Flamingo whose folder can be written and opened: random weights, a tokenizer that is none. Owns its shape, for tests that look at files and sessions, not at texts. */
import type { Architecture } from "../architecture.ts";
import type { ImportedModel } from "../import/pieces.ts";
import { randomModel } from "../random-model.ts";

const architecture: Architecture = {
  vision: { imageSize: 16, patchSize: 8, width: 16, layers: 1, heads: 2, mlpWidth: 16, activation: "gelu", embeddingWidth: 8 },
  resampler: { layers: 1, latents: 2, innerWidth: 64, feedForwardWidth: 16, maxFrames: null },
  crossAttention: { every: 1, innerWidth: 64, feedForwardWidth: 16 },
  decoder: {
    width: 16,
    layers: 1,
    heads: 2,
    mlpWidth: 16,
    vocabularySize: 20,
    maxPositions: 100,
    positions: { kind: "alibi", slopes: [0.5, 0.25] },
    queryKeyNorm: false,
    residual: "sequential",
    layerNormEps: 1e-5,
    softmaxScale: 1,
    tiedHead: true,
  },
};
const specialTokens = { endOfChunk: 1, image: 2, pad: 3, endOfText: null };

export function smallestModel(seed = 1): ImportedModel {
  return randomModel(architecture, { seed, biases: false, tokenizerJson: "{}", specialTokens });
}
