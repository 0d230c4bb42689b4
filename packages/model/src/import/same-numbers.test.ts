import { describe, expect, test } from "vitest";
import { sameNumbers } from "./same-numbers.ts";
import type { StoredTensor, TensorType } from "./tensor-source.ts";

const tensor = (dtype: TensorType, bits: readonly number[], shape: readonly number[] = [bits.length]): StoredTensor => {
  const bytes = new Uint8Array(dtype === "f32" ? Uint32Array.from(bits).buffer : Uint16Array.from(bits).buffer);
  return { name: dtype, shape, dtype, sizeBytes: bytes.length, read: () => Promise.resolve(bytes) };
};

// 1.00390625 (1 + 2⁻⁸) lies halfway between two bf16 numbers; 0.1 isn't a number of either half; 70000 is beyond fp16.
const single = tensor("f32", [0x3f808000, 0x3dcccccd]);
const half = tensor("f16", [0x3c04, 0x2e66]);
const brain = tensor("bf16", [0x3f80, 0x3dcd]);

describe("the same numbers", () => {
  test.each([
    ["fp32 and its fp16", single, half],
    ["fp32 and its bf16, halves to the even one", single, brain],
    ["fp16 and its bf16", half, tensor("bf16", [0x3f80, 0x3dcd])],
    ["bf16 and its fp16", brain, tensor("f16", [0x3c00, 0x2e68])],
    ["bf16 beyond fp16's range and its infinity", tensor("bf16", [0x4789]), tensor("f16", [0x7c00])],
  ])("%s, whichever comes first", async (_, a, b) => {
    expect(await sameNumbers(a, b)).toBe(true);
    expect(await sameNumbers(b, a)).toBe(true);
  });

  test.each([
    ["one bit of the rounded copy is another", single, tensor("f16", [0x3c04, 0x2e67])],
    ["one bit of a half of the other kind is another", half, tensor("bf16", [0x3f80, 0x3dce])],
    ["the shape is another", half, tensor("f16", [0x3c04, 0x2e66], [2, 1])],
  ])("are others where %s", async (_, a, b) => {
    expect(await sameNumbers(a, b)).toBe(false);
    expect(await sameNumbers(b, a)).toBe(false);
  });
});
