/**
 * A catalogue entry without weights, for workers whose engine is `none` (FLAMBOYANCE_ENGINE): tests and benchmarks of everything around the model.
 * Owns a description that is whole in form. Refuses to be opened: there is nothing to open.
 */
import { createHash } from "node:crypto";
import type { ModelDescription } from "@flamboyance/model";
import { modelKeys, type Storage } from "@flamboyance/storage";

export const noOpModelName = "no-op";

/** Puts the description into the service's bucket. */
export async function publishNoOpModel(storage: Storage, bucket: string, signal: AbortSignal): Promise<void> {
  const key = modelKeys(noOpModelName).manifest;
  await storage.write({ bucket, key }, JSON.stringify(description), { contentType: "application/json", signal });
}

const description: ModelDescription = {
  formatVersion: 2,
  name: noOpModelName,
  contentHash: createHash("sha256").update(noOpModelName).digest("hex"),
  precision: "fp32",
  architecture: {
    vision: { imageSize: 64, patchSize: 8, width: 64, layers: 1, heads: 1, mlpWidth: 64, activation: "gelu", embeddingWidth: 64 },
    resampler: { layers: 1, latents: 1, innerWidth: 64, feedForwardWidth: 64, maxFrames: null },
    crossAttention: { every: 1, innerWidth: 64, feedForwardWidth: 64 },
    decoder: {
      width: 64,
      layers: 1,
      heads: 1,
      mlpWidth: 64,
      vocabularySize: 4,
      maxPositions: null,
      positions: { kind: "alibi", slopes: [1] },
      queryKeyNorm: false,
      residual: "sequential",
      layerNormEps: 1e-5,
      softmaxScale: 0.125,
      tiedHead: true,
    },
  },
  preprocessing: { imageSize: 64, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  specialTokens: { endOfChunk: 0, image: 1, pad: 2, endOfText: null },
  files: {},
  limits: { maxPositions: 2_048, maxPromptTokens: 2_000, maxFrames: 1 },
  notes: ["holds no weights"],
};
