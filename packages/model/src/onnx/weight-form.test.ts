import { describe, expect, it } from "vitest";
import { randomNumbers } from "../random-model.ts";
import { packedTensor, packWeight } from "./weight-form.ts";

const shape = [2, 3];
const numbers = Float32Array.of(1, -2, 0.5, 0, 0, 0);

const levelsOf = (form: "int8_rows" | "int8_columns", weight: Float32Array, of: readonly number[]): number[] => [
  ...new Int8Array(packWeight(form, weight, of).buffer),
];

describe("a weight in 8 bits", () => {
  it("has the largest number of each output at 127, and a scale that gives it back", () => {
    expect(levelsOf("int8_rows", numbers, shape)).toEqual([64, -127, 32, 0, 0, 0]);
    const [scale, none] = new Float32Array(packWeight("int8_scale", numbers, shape).buffer);
    expect((scale ?? 0) * -127).toBeCloseTo(-2, 6);
    expect(none).toBe(0);
  });

  it("stands in columns for the product", () => {
    expect(levelsOf("int8_columns", numbers, shape)).toEqual([64, 0, -127, 0, 32, 0]);
    expect(packedTensor("int8_columns", shape)).toEqual({ type: "int8", shape: [3, 2], sizeBytes: 6 });
  });

  it("gives large neighbours of one sign less than half of the levels each, so that 255 times both stays within 16 bits", () => {
    expect(levelsOf("int8_columns", Float32Array.of(4, 4, -4, -4), [1, 4])).toEqual([64, 64, -64, -64]);
    expect(levelsOf("int8_columns", Float32Array.of(4, -4, 4, -4), [1, 4])).toEqual([127, -127, 127, -127]);
  });

  it("cuts neighbours that are large together where that costs less than coarser steps for all", () => {
    const small = Float32Array.from({ length: 4000 }, (_, index) => (index % 2 === 0 ? 0.3 : -0.3));
    const weight = Float32Array.of(1, 0.2, ...small);
    // 112 steps to the largest number: 112 and 22 would be 6 too many.
    expect(levelsOf("int8_rows", weight, [1, weight.length]).slice(0, 3)).toEqual([112, 22, 34]);
    expect(levelsOf("int8_columns", weight, [1, weight.length]).slice(0, 3)).toEqual([109, 19, 34]);
  });

  it("never lets neighbours of an output be more than 128 together, however its numbers lie", () => {
    const [outWidth, inWidth] = [40, 63];
    const next = randomNumbers("neighbours");
    // From evenly spread to a few outliers.
    const weight = Float32Array.from(
      { length: outWidth * inWidth },
      (_, at) => (next() * 2 - 1) * next() ** (Math.floor(at / inWidth) / 4),
    );
    const columns = levelsOf("int8_columns", weight, [outWidth, inWidth]);
    const sums: number[] = [];
    for (let out = 0; out < outWidth; out++) {
      for (let input = 0; input + 1 < inWidth; input += 2) {
        const [left, right] = [columns[input * outWidth + out] ?? 0, columns[(input + 1) * outWidth + out] ?? 0];
        if (Math.sign(left) === Math.sign(right)) sums.push(Math.abs(left + right));
      }
    }
    expect(Math.max(...sums)).toBe(128);
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
