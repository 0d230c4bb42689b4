/** Numbers of a file as float32. Owns the widening of half precisions, which is exact; refuses rounding. */
import type { TensorType } from "./import/tensor-source.ts";

/** Little-endian bytes of the given type as the bytes of float32; those of f32 are answered as they are. */
export function widenToFloat32(bytes: Uint8Array, type: TensorType): Uint8Array {
  if (type === "f32") return bytes;
  const halves = new Uint16Array(new Uint8Array(bytes).buffer);
  const bits = new Uint32Array(halves.length);
  const widen = type === "bf16" ? (half: number): number => half << 16 : halfToFloatBits;
  for (let index = 0; index < halves.length; index++) bits[index] = widen(halves[index] ?? 0);
  return new Uint8Array(bits.buffer);
}

/** IEEE 754 binary16 → binary32, bit by bit. */
function halfToFloatBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // Subnormal: shift the leading one out, so that the number becomes a normal one of float32.
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}
