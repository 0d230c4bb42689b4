/** The vision graph for a device is the other one with its attention spelled out. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Architecture } from "../architecture.ts";
import { openSession } from "../device/cpu-session.ts";
import { folderFiles } from "../description.ts";
import { writeModelFolder } from "../folder.ts";
import { randomModel, randomNumbers } from "../random-model.ts";

const architecture: Architecture = {
  vision: { imageSize: 16, patchSize: 4, width: 32, layers: 2, heads: 4, mlpWidth: 64, activation: "quick_gelu", embeddingWidth: 8 },
  resampler: { layers: 2, latents: 4, innerWidth: 128, feedForwardWidth: 64, maxFrames: 3 },
  crossAttention: { every: 1, innerWidth: 64, feedForwardWidth: 64 },
  decoder: {
    width: 32,
    layers: 2,
    heads: 2,
    mlpWidth: 32,
    vocabularySize: 20,
    maxPositions: null,
    positions: { kind: "alibi", slopes: [0.5, 0.25] },
    queryKeyNorm: false,
    residual: "sequential",
    layerNormEps: 1e-5,
    softmaxScale: 0.25,
    tiedHead: true,
  },
};

it("gives on a device's graph what the other gives, from the same weights, for several media of several frames", async () => {
  const parent = await mkdtemp(join(tmpdir(), "flamboyance-vision-"));
  try {
    const specialTokens = { endOfChunk: 1, image: 2, pad: 3, endOfText: null };
    const folder = join(parent, "model");
    await writeModelFolder(randomModel(architecture, { seed: 5, biases: true, tokenizerJson: "{}", specialTokens }), folder);
    const next = randomNumbers("pixels");
    const shape = [2, 3, 3, 16, 16];
    const data = Float32Array.from({ length: 2 * 3 * 3 * 16 * 16 }, () => next() * 2 - 1);
    const names = ["patches", "embedding", "latents", "media_key.0", "media_value.0", "media_key.1", "media_value.1"];
    const found = [];
    for (const graph of [folderFiles.visionGraph, folderFiles.deviceVisionGraph]) {
      const session = await openSession(join(folder, graph), { threads: 1 });
      found.push(await session.run({ pixels: { type: "float32", data, shape } }, names));
      await session.release();
    }
    const [fused, spelled] = found;
    for (const name of names) {
      expect(spelled?.[name]?.shape, name).toEqual(fused?.[name]?.shape);
      expect(distance(fused?.[name]?.data, spelled?.[name]?.data), name).toBeLessThan(1e-4);
    }
  } finally {
    await rm(parent, { recursive: true });
  }
});

function distance(left: Float32Array = new Float32Array(0), right: Float32Array = new Float32Array(0)): number {
  if (left.length !== right.length || left.length === 0) return Infinity;
  return left.reduce((most, value, index) => Math.max(most, Math.abs(value - (right[index] ?? NaN))), 0);
}
