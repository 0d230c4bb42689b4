import { describe, expect, it } from "vitest";
import { packedTensor, packWeight } from "./weight-form.ts";

const shape = [2, 3];
const numbers = Float32Array.of(1, -2, 0.5, 0, 0, 0);

describe("a weight in 8 bits", () => {
  it("has the largest number of each output at 127, and a scale that gives it back", () => {
    expect([...new Int8Array(packWeight("int8_rows", numbers, shape).buffer)]).toEqual([64, -127, 32, 0, 0, 0]);
    const [scale, none] = new Float32Array(packWeight("int8_scale", numbers, shape).buffer);
    expect((scale ?? 0) * -127).toBeCloseTo(-2, 6);
    expect(none).toBe(0);
  });

  it("stands in columns for the product", () => {
    expect([...new Int8Array(packWeight("int8_columns", numbers, shape).buffer)]).toEqual([64, 0, -127, 0, 32, 0]);
    expect(packedTensor("int8_columns", shape)).toEqual({ type: "int8", shape: [3, 2], sizeBytes: 6 });
  });
});

describe("a weight in 4 bits", () => {
  // 33 inputs: a whole block of 32 and one with a single number.
  const row = Float32Array.from({ length: 33 }, (_, index) => (index === 0 ? -4 : index === 1 ? 3.5 : index === 32 ? 7 : 0.5));

  it("has the largest number of a block at level 0, zero at 8, two to a byte and the rest of the last block filled with zeros", () => {
    const packed = packWeight("int4_blocks", row, [1, 33]);
    const levels = [...packed].flatMap((byte) => [byte & 15, byte >> 4]);
    expect(levels.slice(0, 4)).toEqual([0, 15, 9, 9]);
    expect(levels.slice(32)).toEqual([0, ...Array<number>(31).fill(8)]);
    expect([...new Float32Array(packWeight("int4_scale", row, [1, 33]).buffer)]).toEqual([0.5, -0.875]);
  });

  it("takes five bits a number, scales included", () => {
    const sizes = ["int4_blocks", "int4_scale"] as const;
    const bytes = sizes.reduce((sum, form) => sum + packedTensor(form, [4, 64]).sizeBytes, 0);
    expect((bytes * 8) / (4 * 64)).toBe(5);
  });
});

it("only matrices are rounded", () => {
  expect(() => packedTensor("int8_rows", [3])).toThrow(RangeError);
});
