import { expect, it } from "vitest";
import type { KeptTensor } from "../session.ts";
import { hostMemory } from "./host-memory.ts";
import type { LayerTensors } from "./memory.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

const sizes: TensorSizes = {
  layers: 1,
  heads: 1,
  headWidth: 2,
  vocabulary: 9,
  crossLayers: [0],
  crossHeads: 1,
  crossHeadWidth: 1,
  latents: 2,
  tokenBytes: 16,
  mediaBytes: 16,
};
const tensor = (shape: readonly number[]): KeptTensor => {
  const length = shape.reduce((product, axis) => product * axis, 1);
  return { type: "float32", data: new Float32Array(length).fill(1), shape };
};
const tensors = (shape: readonly number[]): LayerTensors => ({ keys: [tensor(shape)], values: [tensor(shape)] });
const bytesOf = ({ keys, values }: LayerTensors): number =>
  [...keys, ...values].reduce((sum, each) => sum + (each.type === "float32" ? each.data.byteLength : 0), 0);

it("gives back what nobody holds any more, and nothing else", () => {
  const memory = hostMemory(sizes);
  const [kept, dropped] = [tensors([1, 1, 2, 1]), tensors([1, 1, 2, 1])];
  memory.hold(kept, kept);
  memory.hold(dropped, dropped);
  memory.keepOnly([kept]);
  expect([bytesOf(kept), bytesOf(dropped)]).toEqual([16, 0]);
  memory.keepOnly([]);
  expect(bytesOf(kept)).toBe(0);
});

it("gives a run's own tensors back at its end, and a pool's when it outgrows them or is over", async () => {
  const memory = hostMemory(sizes);
  const pool = memory.openPool();
  pool.add(null);
  const made = { ...tensors([1, 1, 3, 2]), groupTokens: 3 };
  pool.append(0, made, 0, [3], [0, 1, 2]);
  const joined = await memory.joinMedia([[]]);
  expect(bytesOf(made) * bytesOf(joined)).toBeGreaterThan(0);
  memory.endRun();
  expect([bytesOf(made), bytesOf(joined)]).toEqual([0, 0]);

  const before = await pool.entries(0, 1);
  const more = { ...tensors([1, 1, 20, 2]), groupTokens: 20 };
  pool.append(
    0,
    more,
    0,
    [20],
    Array.from({ length: 20 }, (_, entry) => 3 + entry),
  );
  const after = await pool.entries(0, 1);
  expect([bytesOf(before), after.capacity]).toEqual([0, 32]);
  memory.keepOnly([pool]);
  expect(bytesOf(after)).toBeGreaterThan(0);
  memory.keepOnly([]);
  expect(bytesOf(after)).toBe(0);
});
