import { describe, expect, it } from "vitest";
import type { KeptTensor } from "../session.ts";
import { hostMemory } from "./host-memory.ts";
import type { EncodedMedia, NewEntries } from "./memory.ts";
import { Pool } from "./pool.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

const sizes: TensorSizes = {
  layers: 1,
  heads: 2,
  headWidth: 2,
  vocabulary: 9,
  crossLayers: [0],
  crossHeads: 1,
  crossHeadWidth: 1,
  latents: 2,
  tokenBytes: 32,
  mediaBytes: 16,
};
const memory = hostMemory(sizes);
const tensor = (numbers: readonly number[], shape: readonly number[]): KeptTensor => ({
  type: "float32",
  data: Float32Array.from(numbers),
  shape,
});
const numbersOf = (found: KeptTensor | undefined): number[] => (found?.type === "float32" ? [...found.data] : []);

/** Entries whose numbers say group, head and token. */
const entries = (groups: number, groupTokens: number, base = 0): NewEntries => {
  const numbers: number[] = [];
  for (let group = 0; group < groups; group++) {
    for (let head = 0; head < 2; head++) {
      for (let token = 0; token < groupTokens; token++)
        numbers.push(...[0, 0.5].map((half) => base + group * 100 + head * 10 + token + half));
    }
  }
  const shape = [groups, 2, groupTokens, 2];
  return {
    keys: [tensor(numbers, shape)],
    values: [
      tensor(
        numbers.map((number) => -number),
        shape,
      ),
    ],
    groupTokens,
  };
};
const media = (value: number): EncodedMedia => ({
  keys: [tensor([value, value], [1, 1, 2, 1])],
  values: [tensor([-value, -value], [1, 1, 2, 1])],
  sizeBytes: 16,
});
const keysOf = async (pool: Pool, slot: number): Promise<number[]> => numbersOf((await pool.entriesOf(slot)).keys[0]);
const mediaOf = async (pool: Pool, part: "keys" | "values"): Promise<number[]> =>
  numbersOf((await pool.tensors.media(0, pool.groups))[part][0]);

describe("a pool of K and V", () => {
  it("takes a run's entries over head by head, without the row's padding", async () => {
    const pool = new Pool(memory, 1, 0);
    pool.add(null);
    pool.add(null);
    const run = entries(2, 3);
    pool.append(0, run, 0, [3]);
    pool.append(1, run, 1, [2]);
    expect(await keysOf(pool, 0)).toEqual([0, 0.5, 1, 1.5, 2, 2.5, 10, 10.5, 11, 11.5, 12, 12.5]);
    expect(await keysOf(pool, 1)).toEqual([100, 100.5, 101, 101.5, 110, 110.5, 111, 111.5]);
  });

  it("keeps entries and media where they are while it grows in groups and in length", async () => {
    const pool = new Pool(memory, 1, 0);
    for (let slot = 0; slot < 9; slot++) {
      pool.add(media(slot + 1));
      for (let step = 0; step < 20; step++) pool.append(slot, entries(1, 1, slot * 1000 + step), 0, [1]);
    }
    expect((await keysOf(pool, 4)).slice(0, 4)).toEqual([4000, 4000.5, 4001, 4001.5]);
    expect(await keysOf(pool, 8)).toHaveLength(20 * 4);
    expect(await mediaOf(pool, "keys")).toEqual([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]);
  });

  it("fills a slot that falls free with the last group, its media too", async () => {
    const pool = new Pool(memory, 1, 0);
    [1, 2, 3].forEach((value, slot) => {
      pool.add(media(value));
      pool.append(slot, entries(1, 1, value * 1000), 0, [1]);
    });
    pool.remove(0);
    expect(pool.groups).toBe(2);
    expect([(await keysOf(pool, 0))[0], (await keysOf(pool, 1))[0]]).toEqual([3000, 2000]);
    expect(await mediaOf(pool, "values")).toEqual([-3, -3, -2, -2]);
  });

  it("forgets the media of a group that left: the next one in its slot sees its own, or zeros", async () => {
    const pool = new Pool(memory, 1, 0);
    pool.add(media(7));
    pool.remove(0);
    pool.add(null);
    expect(pool.seesMedia(0)).toBe(false);
    expect(await mediaOf(pool, "keys")).toEqual([0, 0]);
  });

  it("shows a beam its parent's past and nothing of the others, whose entries give way to new ones", async () => {
    const pool = new Pool(memory, 2, 0);
    pool.add(null);
    pool.append(0, entries(1, 1), 0, [1]); // the prompt, seen by both
    pool.append(0, entries(1, 2), 0, [1, 1]); // one token of each beam
    pool.adopt(0, [1, 1]);
    pool.append(0, entries(1, 2), 0, [1, 1]);
    const { visible, past_positions: positions } = await pool.inputs(0, 1, 2);
    const capacity = visible?.shape[1] ?? 0;
    const bits = visible?.type === "bool" ? [...visible.data] : [];
    const rows = [0, 1].map((row) => bits.slice(row * capacity, row * capacity + 5).map(Number));
    expect(rows).toEqual([
      [1, 1, 1, 0, 0],
      [1, 0, 1, 1, 0],
    ]);
    expect(positions?.type === "int64" ? [...positions.data].slice(0, 4) : []).toEqual([0n, 2n, 1n, 2n]);
    expect([pool.nextPosition(0, 0), pool.nextPosition(0, 1)]).toEqual([3, 3]);
  });

  it("has room for what beams still see, and no more", async () => {
    const pool = new Pool(memory, 2, 0);
    pool.add(null);
    pool.append(0, entries(1, 1), 0, [1]);
    for (let step = 0; step < 13; step++) {
      pool.append(0, entries(1, 2), 0, [1, 1]);
      pool.adopt(0, [step % 2, step % 2]);
    }
    // The prompt, a token of each step, and one that nobody sees any more; all that was ever made is 27.
    expect((await pool.inputs(0, 1, 2))["visible"]?.shape[1]).toBe(16);
    expect((await pool.entriesOf(0)).length).toBe(15);
  });
});
