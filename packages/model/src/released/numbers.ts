/**
 * Cheap numbers for tensors of any size: a seeded block, entered at a place of the tensor's own and scaled so that activations stay in range.
 * Owns their spread; refuses to be random in any strict sense.
 */
import { createHash } from "node:crypto";
import { bytesPerNumber, numberCount, type StoredType } from "../import/tensor-source.ts";
import type { LayoutTensor } from "./layout.ts";

const blockNumbers = 2 ** 18;
const chunkNumbers = 2 ** 20;

/** Answers a function that gives a tensor's bytes, little-endian, a few megabytes at a time; equal seeds and names give equal bytes. */
export function seededNumbers(seed: number): (tensor: LayoutTensor) => Generator<Uint8Array> {
  const block = uniformBlock(seed);
  return function* (tensor) {
    const { centre, spread } = distribution(tensor);
    const count = numberCount(tensor.shape);
    const entry = createHash("sha256").update(tensor.name).digest().readUInt32LE(0);
    for (let begin = 0; begin < count; begin += chunkNumbers) {
      const length = Math.min(chunkNumbers, count - begin);
      const values = new Float32Array(length);
      for (let index = 0; index < length; index += 1)
        values[index] = centre + spread * (block[(entry + begin + index) & (blockNumbers - 1)] ?? 0);
      yield encode(values, tensor.dtype);
    }
  };
}

/** −1 to 1, by mulberry32. */
function uniformBlock(seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: blockNumbers }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2_147_483_648 - 1;
  });
}

/** Norms near one, gates open, products that keep their input's scale. */
function distribution({ name, shape }: LayoutTensor): { centre: number; spread: number } {
  if (name.endsWith("gate")) return { centre: 0.5, spread: 0.2 };
  if (shape.length <= 1) return name.endsWith(".weight") ? { centre: 1, spread: 0.2 } : { centre: 0, spread: 0.1 };
  return { centre: 0, spread: /embed|wte|latents/.test(name) ? 1 : Math.sqrt(3 / numberCount(shape.slice(1))) };
}

function encode(values: Float32Array, dtype: StoredType): Uint8Array {
  if (dtype === "f32") return new Uint8Array(values.buffer);
  const bytes = new Uint8Array(values.length * bytesPerNumber[dtype]);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) {
    if (dtype === "f16") view.setFloat16(index * 2, value, true);
    else if (dtype === "bool") bytes[index] = value > 0 ? 1 : 0;
    else if (dtype === "i64") view.setBigInt64(index * 8, BigInt(index), true);
    else throw new Error(`no released file holds ${dtype}`);
  }
  return bytes;
}
