/** The loop's own promises, on a fake runner that always finds token 1 the likeliest. */
import { describe, expect, it } from "vitest";
import { hostMemory } from "./host-memory.ts";
import type { Row } from "./lane.ts";
import { createLoop, type Loop } from "./loop.ts";
import type { Memory } from "./memory.ts";
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

function loopOn(beforeRun: () => void = () => {}, memory = hostMemory(sizes)): Loop {
  const runner: Runner = {
    encode: () => {
      beforeRun();
      return Promise.resolve({ keys: [zeros(1)], values: [zeros(1)], sizeBytes: 8 });
    },
    forward: ({ pool, from, rows }) => {
      beforeRun();
      rows.forEach(({ tokens }, index) => {
        const entries = { keys: [zeros(tokens.length)], values: [zeros(tokens.length)], groupTokens: tokens.length };
        pool.append(from + index, entries, 0, [tokens.length]);
      });
      return Promise.resolve(Float32Array.from(rows.flatMap(() => [0, 5, 0, 0])));
    },
  };
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

/** The reading of a prefix holds its images from the first on, long before it has read anything. */
function rowBehindPrefix(signal: AbortSignal, reject: (reason: unknown) => void): Row {
  const images = Array.from({ length: 5 }, (_, image) => ({ key: `image-${image}`, frames: [new Float32Array(1)] }));
  const prefix = { key: "prefix", tokens: [2, 2, 2, 2, 2], sees: [0, 1, 2, 3, 4], media: images, tail: "" };
  return { ...row(3, { signal, reject }), lane: "other", prefix };
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

  it("lets go of a prefix that is being read when nobody waits for it any more, though others run on", async () => {
    const plain = hostMemory(sizes);
    const pools: object[] = [];
    const named: object[][] = [];
    const memory: Memory = {
      ...plain,
      openPool: () => {
        const pool = plain.openPool();
        pools.push(pool);
        return pool;
      },
      keepOnly: (owners) => {
        named.push([...owners]);
        plain.keepOnly(named.at(-1) ?? []);
      },
    };
    const controller = new AbortController();
    let runs = 0;
    const loop = loopOn(() => {
      runs += 1;
      if (runs === 4) controller.abort();
    }, memory);
    const long = answered(loop, 9);
    const givenUp = new Promise((resolve) => loop.submit(rowBehindPrefix(controller.signal, resolve)));
    await Promise.all([long, givenUp]);
    const bothLive = named.filter((owners) => pools.every((pool) => owners.includes(pool))).length;
    // A joining and four runs, in the last of which it was given up.
    expect([pools.length, bothLive, runs]).toEqual([2, 5, 12]);
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
