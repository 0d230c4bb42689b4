/** The loop's own promises, on a fake runner that always finds token 1 the likeliest. */
import { describe, expect, it } from "vitest";
import { hostMemory } from "./host-memory.ts";
import type { Row } from "./lane.ts";
import { createLoop, type Loop } from "./loop.ts";
import type { Runner } from "./runner.ts";
import { greedySearch, type Answer } from "./search.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

const sizes: TensorSizes = {
  layers: 1,
  heads: 1,
  headWidth: 1,
  vocabulary: 4,
  crossLayers: [0],
  crossHeads: 1,
  crossHeadWidth: 1,
  latents: 1,
  tokenBytes: 8,
  mediaBytes: 8,
};
const zeros = (count: number) => ({ type: "float32", data: new Float32Array(count), shape: [count] }) as const;

function loopOn(beforeRun: () => void = () => {}): Loop {
  const runner: Runner = {
    encode: () => Promise.resolve({ keys: [zeros(1)], values: [zeros(1)], sizeBytes: 8 }),
    forward: ({ pool, from, rows }) => {
      beforeRun();
      rows.forEach(({ tokens }, index) => {
        const entries = { keys: [zeros(tokens.length)], values: [zeros(tokens.length)], groupTokens: tokens.length };
        pool.append(from + index, entries, 0, [tokens.length]);
      });
      return Promise.resolve(Float32Array.from(rows.flatMap(() => [0, 5, 0, 0])));
    },
  };
  const memory = hostMemory(sizes);
  return createLoop({ runner, memory, sizes, budget: { rows: 8, entries: 1000 }, maxMediaBytes: 100, maxPrefixBytes: 100, runMs: () => 0 });
}

function row(maxNewTokens: number, over: Partial<Pick<Row, "signal" | "resolve" | "reject">> = {}): Row {
  return {
    id: "row",
    lane: "lane",
    prefix: null,
    passage: { tokens: [2], sees: [null], media: [] },
    search: greedySearch({ maxNewTokens, minNewTokens: 0, endToken: 3, isStopped: null, logProbabilities: false }),
    entries: 1 + maxNewTokens,
    encoded: [],
    signal: undefined,
    resolve: () => {},
    reject: () => {},
    ...over,
  };
}

const answered = (loop: Loop, maxNewTokens: number): Promise<readonly Answer[]> =>
  new Promise((resolve, reject) => loop.submit(row(maxNewTokens, { resolve, reject })));

describe("the loop", () => {
  it("takes a row that comes in the very moment in which the last one goes", async () => {
    const controller = new AbortController();
    const loop = loopOn(() => controller.abort());
    const next = new Promise<readonly Answer[]>((resolve, reject) => {
      const given = row(9, { signal: controller.signal, reject: () => queueMicrotask(() => loop.submit(row(2, { resolve, reject }))) });
      loop.submit(given);
    });
    expect((await next)[0]?.tokens).toEqual([1, 1]);
  });

  it("runs again after it stood idle", async () => {
    const loop = loopOn();
    expect((await answered(loop, 2))[0]?.tokens).toEqual([1, 1]);
    expect((await answered(loop, 3))[0]?.tokens).toEqual([1, 1, 1]);
    expect(loop.stats()).toMatchObject({ rows: { started: 2, ended: 2 }, newTokens: 5, steps: 3, rowsPerStep: { 1: 3 } });
  });

  it("lets a row join while another runs", async () => {
    let runs = 0;
    const joined: Promise<readonly Answer[]>[] = [];
    const loop = loopOn(() => {
      runs += 1;
      if (runs === 3) joined.push(answered(loop, 2));
    });
    await answered(loop, 9);
    expect((await Promise.all(joined)).map(([best]) => best?.tokens)).toEqual([[1, 1]]);
    expect(loop.stats().rows).toEqual({ started: 2, ended: 2, cancelled: 0 });
    expect(loop.stats().rowsPerStep[2]).toBeGreaterThan(0);
  });

  it("turns any fault of a run into engine_failed", async () => {
    let broken = true;
    const loop = loopOn(() => {
      if (broken) throw new RangeError("no element 7");
    });
    await expect(answered(loop, 2)).rejects.toMatchObject({ code: "engine_failed" });
    broken = false;
    expect((await answered(loop, 1))[0]?.tokens).toEqual([1]);
  });
});
