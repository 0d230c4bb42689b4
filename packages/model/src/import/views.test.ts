import { expect, test } from "vitest";
import type { TensorSource } from "./tensor-source.ts";
import { interleavedRows, rows, transposed } from "./views.ts";

/** 0, 1, 2, … as fp32. */
function counting(...shape: readonly number[]): TensorSource {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, index) => index);
  return { name: "fused", shape, dtype: "f32", sizeBytes: data.byteLength, read: () => Promise.resolve(new Uint8Array(data.buffer)) };
}

async function numbers(tensor: TensorSource): Promise<number[]> {
  const bytes = await tensor.read();
  expect(bytes.length).toBe(tensor.sizeBytes);
  return [...new Float32Array(bytes.slice().buffer)];
}

test("rows of a fused projection", async () => {
  const value = rows(counting(6, 2), 4, 2);
  expect(value).toMatchObject({ shape: [2, 2], name: "fused[4:6]" });
  expect(await numbers(value)).toEqual([8, 9, 10, 11]);
});

test("rows of what can be read in parts are all that is read", async () => {
  const whole = counting(6, 2);
  const asked: number[][] = [];
  const value = rows(
    {
      ...whole,
      read: () => Promise.reject(new Error("read whole")),
      readPart: async (offset, length) => {
        asked.push([offset, length]);
        return (await whole.read()).subarray(offset, offset + length);
      },
    },
    4,
    2,
  );
  expect(await numbers(value)).toEqual([8, 9, 10, 11]);
  expect(asked).toEqual([[32, 16]]);
});

test("a part of each head: (heads, [query, key, value], headWidth) rows", async () => {
  // 2 heads, 2 wide: query rows are 0, 1 and 6, 7; key rows 2, 3 and 8, 9.
  const bias = counting(12);
  expect(await numbers(interleavedRows(bias, 2, 3, 0))).toEqual([0, 1, 6, 7]);
  expect(await numbers(interleavedRows(bias, 2, 3, 1))).toEqual([2, 3, 8, 9]);
  expect(await numbers(interleavedRows(bias, 2, 3, 2))).toEqual([4, 5, 10, 11]);
  const weight = interleavedRows(counting(12, 4), 2, 3, 2);
  expect(weight.shape).toEqual([4, 4]);
  expect((await numbers(weight)).slice(8, 12)).toEqual([40, 41, 42, 43]);
});

test("a matrix and its transpose", async () => {
  const turned = transposed(counting(2, 3));
  expect(turned.shape).toEqual([3, 2]);
  expect(await numbers(turned)).toEqual([0, 3, 1, 4, 2, 5]);
});
