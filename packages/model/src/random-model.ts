/**
 * A Flamingo of any architecture with random weights, in the form that an import gives. Owns the numbers (seeded, scaled so that activations stay in range);
 * refuses to be any good: it is for tests of laws and for measuring speed.
 */
import { createHash } from "node:crypto";
import type { Architecture } from "./architecture.ts";
import { buildDecoderGraph } from "./graph/decoder.ts";
import { buildVisionGraph } from "./graph/vision.ts";
import type { ImportedModel } from "./import/pieces.ts";
import type { TensorSource } from "./import/tensor-source.ts";

/** Equal arguments give equal models. `biases`: whether the language model has them (the vision tower always does). */
export function randomModel(
  architecture: Architecture,
  options: { seed: number; biases: boolean; tokenizerJson: string; specialTokens: ImportedModel["specialTokens"] },
): ImportedModel {
  const has = (name: string): boolean => {
    if (!name.endsWith(".bias")) return true;
    if (name.startsWith("decoder.")) return options.biases;
    if (name.includes("patch_embedding")) return false;
    // OpenFlamingo's resampler and cross attention have LayerNorm biases and no others.
    return name.startsWith("vision.") || /norm(_\w+)?\.bias$/.test(name);
  };
  const weights = [...buildVisionGraph(architecture, has).weights, ...buildDecoderGraph(architecture, has).weights];
  const tensors = new Map(weights.map(({ tensor, tensorShape }) => [tensor, randomTensor(tensor, tensorShape, options.seed)]));
  return { architecture, tensors, tokenizerJson: options.tokenizerJson, specialTokens: options.specialTokens, notes: ["random weights"] };
}

function randomTensor(name: string, shape: readonly number[], seed: number): TensorSource {
  const count = shape.reduce((product, length) => product * length, 1);
  return {
    name,
    shape,
    dtype: "f32",
    sizeBytes: count * 4,
    read: () => {
      const next = randomNumbers(`${seed}/${name}`);
      const { centre, spread } = distribution(name, shape);
      const numbers = new Float32Array(count);
      for (let index = 0; index < count; index++) numbers[index] = centre + spread * (next() * 2 - 1);
      return Promise.resolve(new Uint8Array(numbers.buffer));
    },
  };
}

/** Norms near one, gates open, products that keep their input's scale. */
function distribution(name: string, shape: readonly number[]): { centre: number; spread: number } {
  if (name.endsWith("gate")) return { centre: 0.7, spread: 0.2 };
  if (name.includes("norm") && name.endsWith("weight")) return { centre: 1, spread: 0.3 };
  if (name.endsWith("bias")) return { centre: 0, spread: 0.2 };
  const inWidth = shape.at(-1) ?? 1;
  return { centre: 0, spread: name.includes("embedding") || name.endsWith("latents") ? 1 : Math.sqrt(3 / inWidth) };
}

/** Numbers from 0 up to 1, mulberry32 over a name's hash: small, quick, the same everywhere. For made-up weights and tests; what is sampled is drawn by generate/draw.ts. */
export function randomNumbers(name: string): () => number {
  let state = createHash("sha256").update(name).digest().readUInt32LE(0);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
