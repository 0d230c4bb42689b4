/** What a lane asks of the runner: which tokens, which media, whose turn. The runner is a fake that writes requests down and answers chosen logits. */
import { describe, expect, it } from "vitest";
import type { KeptTensor } from "../session.ts";
import { hostMemory } from "./host-memory.ts";
import { Lane, PrefixReading, type Row } from "./lane.ts";
import type { TokenisedPassage } from "./passage.ts";
import type { ComputedPrefix, EncodedMedia } from "./memory.ts";
import type { ForwardRequest, Runner } from "./runner.ts";
import { greedySearch } from "./search.ts";
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
const memory = hostMemory(sizes);
const tensor = (...numbers: number[]): KeptTensor => ({ type: "float32", data: Float32Array.from(numbers), shape: [numbers.length] });
const media = (value: number): EncodedMedia => ({ keys: [tensor(value)], values: [tensor(value)], sizeBytes: 8 });
const hashed = (key: string): TokenisedPassage["media"][number] => ({ key, frames: [] });
const prefix = (lastMedia: EncodedMedia | null): ComputedPrefix => ({
  keys: [tensor(1, 2)],
  values: [tensor(1, 2)],
  length: 2,
  lastMedia,
  sizeBytes: 16,
});

function row(id: string, passage: Omit<TokenisedPassage, "media">, encoded: EncodedMedia[], maxNewTokens = 3): Row {
  return {
    id,
    lane: "lane",
    prefix: null,
    passage: { ...passage, media: encoded.map((_, index) => hashed(`${id}${index}`)) },
    search: greedySearch({ maxNewTokens, minNewTokens: 0, endToken: 3, isStopped: null, logProbabilities: false }),
    entries: passage.tokens.length + maxNewTokens,
    encoded,
    signal: undefined,
    resolve: () => {},
    reject: () => {},
  };
}

/** Every asked row's likeliest token is 1. */
function fakeRunner(): { runner: Runner; requests: ForwardRequest[] } {
  const requests: ForwardRequest[] = [];
  const forward = (request: ForwardRequest): Promise<Float32Array> => {
    requests.push(request);
    const { pool, from, rows } = request;
    rows.forEach(({ tokens }, index) => {
      const zeros = tensor(...tokens.map(() => 0));
      const entries = { keys: [zeros], values: [zeros], groupTokens: tokens.length };
      pool.append(from + index, entries, 0, [tokens.length]);
    });
    return Promise.resolve(Float32Array.from(rows.filter(({ tokens }) => tokens.length > 0).flatMap(() => [0, 5, 0, 0])));
  };
  return { requests, runner: { forward, encode: () => Promise.reject(new Error("nothing to encode")) } };
}

describe("a lane", () => {
  it("lets text before a row's first <image> go on seeing the prefix's last media", async () => {
    const { runner, requests } = fakeRunner();
    const [inherited, own] = [media(1), media(2)];
    const lane = new Lane("lane", 1, prefix(inherited), sizes, memory);
    lane.join(row("a", { tokens: [7, 8, 9], sees: [null, 0, 0] }, [own]));
    await lane.readPrompts(runner);
    expect(requests[0]?.media).toEqual([[inherited, own]]);
    expect(requests[0]?.rows).toEqual([{ tokens: [7, 8, 9], sees: [0, 1, 1] }]);
  });

  it("gives a row that begins with <image> its own media alone, which the pool holds", async () => {
    const { runner, requests } = fakeRunner();
    const lane = new Lane("lane", 1, prefix(media(1)), sizes, memory);
    lane.join(row("a", { tokens: [8, 9], sees: [0, 0] }, [media(2)]));
    await lane.readPrompts(runner);
    expect(requests[0]).toMatchObject({ media: null, rows: [{ sees: [0, 0] }] });
    expect((await requests[0]?.pool.tensors.media(0, 1))?.keys[0]).toMatchObject({ data: Float32Array.of(2) });
  });

  it("lets text without media see none where the prefix has none either, also while it decodes", async () => {
    const { runner, requests } = fakeRunner();
    const lane = new Lane("lane", 1, prefix(null), sizes, memory);
    lane.join(row("a", { tokens: [8], sees: [null] }, []));
    await lane.readPrompts(runner);
    await lane.decode(runner);
    expect(requests.map(({ rows }) => rows)).toEqual([[{ tokens: [8], sees: [null] }], [{ tokens: [1], sees: [null] }]]);
  });

  it("reads a long prompt in pieces, beside rows that already wait for their first step", async () => {
    const { runner, requests } = fakeRunner();
    const lane = new Lane("lane", 1, null, sizes, memory);
    const tokens = Array.from({ length: 700 }, (_, index) => index);
    lane.join(row("long", { tokens, sees: tokens.map(() => null) }, []));
    lane.join(row("short", { tokens: [5], sees: [null] }, []));
    while (lane.reading > 0) await lane.readPrompts(runner);
    expect(requests.map(({ rows }) => rows.map((each) => each.tokens.length))).toEqual([
      [256, 1],
      [256, 0],
      [188, 0],
    ]);
    expect(requests.flatMap(({ rows }) => rows[0]?.tokens ?? [])).toEqual(tokens);
    await lane.decode(runner);
    expect(requests.at(-1)?.rows).toEqual([
      { tokens: [1], sees: [null] },
      { tokens: [1], sees: [null] },
    ]);
  });

  it("lets rows go as they end and keeps the others' turn", async () => {
    const { runner } = fakeRunner();
    const lane = new Lane("lane", 1, null, sizes, memory);
    for (const [id, length] of [
      ["a", 1],
      ["b", 3],
      ["c", 2],
    ] as const)
      lane.join(row(id, { tokens: [8], sees: [null] }, [], length));
    const ended = [await lane.readPrompts(runner), await lane.decode(runner), await lane.decode(runner)];
    expect(ended.map((each) => each.map(({ row: { id } }) => id))).toEqual([["a"], ["c"], ["b"]]);
    expect(lane.groups).toBe(0);
  });
});

describe("a prefix being read", () => {
  it("is done when its last piece is, and hands on its last media", async () => {
    const { runner, requests } = fakeRunner();
    const tokens = Array.from({ length: 600 }, (_, index) => index);
    const reading = new PrefixReading({ key: "k", tail: "", tokens, sees: tokens.map(() => 0), media: [hashed("m")] }, sizes, memory);
    expect(reading.lacking).toEqual(hashed("m"));
    const own = media(4);
    reading.encoded[0] = own;
    expect(reading.lacking).toBe(null);
    for (let piece = 0; piece < 4; piece++) expect(await reading.readOn(runner)).toBe(null);
    expect(await reading.readOn(runner)).toMatchObject({ length: 600, lastMedia: own, sizeBytes: 4800 });
    expect(requests.flatMap(({ rows }) => rows[0]?.tokens ?? [])).toEqual(tokens);
  });

  it("is read with the images that a piece's tokens see, and no others", async () => {
    const { runner, requests } = fakeRunner();
    const sees = Array.from({ length: 300 }, (_, token) => (token < 10 ? null : Math.floor(token / 60)));
    const names = ["a", "b", "c", "d", "e"];
    const owned: number[][] = [];
    const reading = new PrefixReading({ key: "k", tail: "", tokens: sees.map(() => 7), sees, media: names.map(hashed) }, sizes, memory);
    const encoded = names.map((_, index) => media(index));
    for (let piece = 0; piece < 3; piece++) {
      // One after the other, as they are asked for; those of earlier pieces may go.
      for (let next = reading.lacking; next !== null; next = reading.lacking) {
        const index = names.indexOf(next.key);
        reading.encoded[index] = encoded[index] ?? null;
      }
      owned.push(reading.owners.flatMap((owner) => encoded.findIndex((each) => each === owner)).filter((index) => index !== -1));
      await reading.readOn(runner);
    }
    expect(owned).toEqual([[0, 1, 2], [2, 3, 4], [4]]);
    const given = requests.map((request) => (request.media?.[0] ?? []).map((each) => encoded.indexOf(each)));
    expect(given).toEqual([[0, 1, 2], [2, 3, 4], [4]]);
    const seen = requests.flatMap(({ rows }, piece) => rows[0]?.sees.map((index) => (index === null ? null : given[piece]?.[index])) ?? []);
    expect(seen).toEqual(sees);
  });
});
