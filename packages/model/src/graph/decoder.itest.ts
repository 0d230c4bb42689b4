/** The laws of the two graphs on random weights: what a token sees, whatever the way its past came in. Equality with OpenFlamingo is parity's. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Architecture } from "../architecture.ts";
import { folderFiles, precisionSchema } from "../description.ts";
import { writeModelFolder } from "../folder.ts";
import { Pool } from "../generate/pool.ts";
import { openSession } from "../device/cpu-session.ts";
import { openDeviceMemory } from "../generate/device-memory.ts";
import { hostMemory } from "../generate/host-memory.ts";
import type { ComputedPrefix, EncodedMedia, Memory } from "../generate/memory.ts";
import { createRunner, type RowTokens, type Runner } from "../generate/runner.ts";
import { tensorSizes } from "../generate/tensor-sizes.ts";
import { randomModel } from "../random-model.ts";
import type { Session } from "../session.ts";

const base: Omit<Architecture, "decoder"> = {
  vision: { imageSize: 16, patchSize: 8, width: 32, layers: 1, heads: 2, mlpWidth: 64, activation: "quick_gelu", embeddingWidth: 8 },
  resampler: { layers: 1, latents: 4, innerWidth: 64, feedForwardWidth: 64, maxFrames: 3 },
  crossAttention: { every: 2, innerWidth: 128, feedForwardWidth: 64 },
};
const decoder = {
  width: 32,
  layers: 4,
  heads: 4,
  mlpWidth: 64,
  vocabularySize: 50,
  maxPositions: null,
  layerNormEps: 1e-5,
  softmaxScale: 8 ** -0.5,
};
const architectures: Record<string, Architecture> = {
  "ALiBi, q/k norm, sequential, tied": {
    ...base,
    decoder: {
      ...decoder,
      positions: { kind: "alibi", slopes: [0.25, 0.06, 0.5, 0.1] },
      queryKeyNorm: true,
      residual: "sequential",
      tiedHead: true,
    },
  },
  "rotary on half a head, parallel, untied": {
    ...base,
    decoder: {
      ...decoder,
      positions: { kind: "rotary", width: 4, base: 10_000 },
      queryKeyNorm: false,
      residual: "parallel",
      tiedHead: false,
    },
  },
};

/** A device's memory gives the graphs other tensors than the host's (rows in front of a prefix's values, spare entries); only fp32 runs there. */
const graphs = Object.entries(architectures).flatMap(([name, architecture]) => [
  ...precisionSchema.options.map((precision) => ({ name, architecture, precision, memoryOf: "the host" })),
  { name, architecture, precision: "fp32" as const, memoryOf: "a device" },
]);

describe.each(graphs)("the graphs of $name in $precision, with the memory of $memoryOf", ({ name, architecture, precision, memoryOf }) => {
  // Kernels differ in the last bits with the number of rows; where activations are rounded, a last bit may move one of them by a whole level.
  const near = precision === "fp32" ? 1e-4 : 0.02;
  const sizes = tensorSizes(architecture);
  const host = hostMemory(sizes);
  let memory: Memory;
  let folder: string;
  let sessions: { vision: Session; decoder: Session };
  let runner: Runner;
  let media: EncodedMedia[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "flamboyance-graph-"));
    const imported = randomModel(architecture, {
      seed: 3,
      biases: name.startsWith("rotary"),
      tokenizerJson: "{}",
      specialTokens: { endOfChunk: 1, image: 2, pad: 3, endOfText: null },
    });
    await writeModelFolder(imported, join(folder, "model"), { precision });
    sessions = {
      vision: await openSession(join(folder, "model", folderFiles.visionGraph), { threads: 1 }),
      decoder: await openSession(join(folder, "model", folderFiles.decoderGraph), { threads: 1 }),
    };
    memory = memoryOf === "a device" ? await openDeviceMemory(sizes, (graph) => openSession(graph, { threads: 1 })) : host;
    runner = createRunner(sessions, memory, sizes, base.vision.imageSize);
    media = [];
    for (const seed of [1, 2, 3]) media.push(await runner.encode([pixels(seed)]));
  });

  afterAll(async () => {
    await sessions.vision.release();
    await sessions.decoder.release();
    await memory.release();
    await rm(folder, { recursive: true });
  });

  const row = (tokens: number[], sees: (number | null)[] = tokens.map(() => 0)): RowTokens => ({ tokens, sees });
  /** Always with the host's memory, which the other one is held against. */
  const alone = async (tokens: RowTokens, own: readonly EncodedMedia[]): Promise<Float32Array> => {
    const pool = new Pool(host, 1, 0);
    pool.add(own.at(-1) ?? null);
    const request = { prefix: null, pool, from: 0, to: 1, rowsPerGroup: 1, rows: [tokens], media: [own], logits: "all" } as const;
    return createRunner(sessions, host, sizes, base.vision.imageSize).forward(request);
  };
  const prefixOf = async (tokens: RowTokens, own: readonly EncodedMedia[]): Promise<ComputedPrefix> => {
    const pool = new Pool(memory, 1, 0);
    pool.add(null);
    await runner.forward({ prefix: null, pool, from: 0, to: 1, rowsPerGroup: 1, rows: [tokens], media: [own], logits: "none" });
    return { ...(await pool.entriesOf(0)), lastMedia: own.at(-1) ?? null, sizeBytes: 0 };
  };
  const lastOf = (logits: Float32Array): Float32Array => logits.subarray(logits.length - sizes.vocabulary);

  it("give the same logits read at once, in pieces, behind a prefix and token by token", async () => {
    const tokens = [5, 2, 9, 30, 31, 2, 44, 12];
    const sees = [null, 0, 0, 0, 0, 1, 1, 1];
    const own = media.slice(0, 2);
    const whole = await alone(row(tokens, sees), own);

    const prefix = await prefixOf(row(tokens.slice(0, 5), sees.slice(0, 5)), own.slice(0, 1));
    const pool = new Pool(memory, 1, prefix.length);
    pool.add(own[1] ?? null);
    const shared = { prefix, pool, from: 0, to: 1, rowsPerGroup: 1, logits: "all" } as const;
    const second = await runner.forward({ ...shared, rows: [row(tokens.slice(5, 7))], media: [own.slice(1)] });
    const third = await runner.forward({ ...shared, rows: [row(tokens.slice(7))], media: null });
    expect(distance(Float32Array.from([...second, ...third]), whole.subarray(5 * sizes.vocabulary))).toBeLessThan(near);
  });

  it("give a row the same logits alone and beside rows of other lengths and other shots", async () => {
    const rows = [
      row([2, 7, 8]),
      row([4, 2, 9, 30, 2, 12, 13, 2, 20], [null, 0, 0, 0, 1, 1, 1, 2, 2]),
      row([40], [null]),
      row([2, 6, 6, 6, 6]),
    ];
    const own = [media.slice(0, 1), media, [], media.slice(2)];
    const pool = new Pool(memory, 1, 0);
    rows.forEach((_, index) => pool.add(own[index]?.at(-1) ?? null));
    const together = await runner.forward({ prefix: null, pool, from: 0, to: 4, rowsPerGroup: 1, rows, media: own, logits: "last" });
    for (const [index, each] of rows.entries()) {
      const found = together.subarray(index * sizes.vocabulary, (index + 1) * sizes.vocabulary);
      expect(distance(found, lastOf(await alone(each, own[index] ?? [])))).toBeLessThan(near);
    }
    // And one step further, where each has another past.
    const next = rows.map(() => row([17]));
    next[2] = row([17], [null]);
    const stepped = await runner.forward({ prefix: null, pool, from: 0, to: 4, rowsPerGroup: 1, rows: next, media: null, logits: "last" });
    for (const [index, each] of rows.entries()) {
      const longer = row([...each.tokens, 17], [...each.sees, index === 2 ? null : (each.sees.at(-1) ?? null)]);
      const found = stepped.subarray(index * sizes.vocabulary, (index + 1) * sizes.vocabulary);
      expect(distance(found, lastOf(await alone(longer, own[index] ?? [])))).toBeLessThan(near);
    }
  });

  it("give tokens before the first media nothing of it, to the bit", async () => {
    const tokens = row([5, 6, 2, 9], [null, null, 0, 0]);
    const [one, other] = [await alone(tokens, media.slice(0, 1)), await alone(tokens, media.slice(1, 2))];
    const before = 2 * sizes.vocabulary;
    expect(distance(one.subarray(0, before), other.subarray(0, before))).toBe(0);
    expect(distance(one.subarray(before), other.subarray(before))).toBeGreaterThan(near);
  });

  it("let a token see only its latest media", async () => {
    const tokens = row([2, 7, 2, 9], [0, 0, 1, 1]);
    const usual = await alone(tokens, media.slice(0, 2));
    const otherLatest = await alone(
      tokens,
      [media[0], media[2]].filter((each) => each !== undefined),
    );
    const cut = 2 * sizes.vocabulary;
    expect(distance(usual.subarray(0, cut), otherLatest.subarray(0, cut))).toBe(0);
    expect(distance(usual.subarray(cut), otherLatest.subarray(cut))).toBeGreaterThan(near);
  });

  it("give each beam of a group what a row with its own tokens gets", async () => {
    const prompt = [2, 7, 8];
    const pool = new Pool(memory, 3, 0);
    pool.add(media[0] ?? null);
    const shared = { prefix: null, pool, from: 0, to: 1, logits: "last" } as const;
    await runner.forward({ ...shared, rowsPerGroup: 1, rows: [row(prompt)], media: [media.slice(0, 1)] });
    await runner.forward({ ...shared, rowsPerGroup: 3, rows: [row([10]), row([11]), row([12])], media: null });
    pool.adopt(0, [1, 1, 0]);
    const logits = await runner.forward({ ...shared, rowsPerGroup: 3, rows: [row([20]), row([21]), row([22])], media: null });
    const paths = [
      [11, 20],
      [11, 21],
      [10, 22],
    ];
    for (const [beam, path] of paths.entries()) {
      const expected = lastOf(await alone(row([...prompt, ...path]), media.slice(0, 1)));
      expect(distance(logits.subarray(beam * sizes.vocabulary, (beam + 1) * sizes.vocabulary), expected)).toBeLessThan(near);
    }
  });

  it("encode several media in one run as they do each alone, and see the order of frames", async () => {
    const frames = [pixels(4), pixels(5)];
    const forwards = await runner.encode(frames);
    const backwards = await runner.encode(frames.toReversed());
    expect(distance(firstKeys(forwards), firstKeys(backwards))).toBeGreaterThan(near);

    const both = Float32Array.from([...pixels(1), ...pixels(2)]);
    const shape = [2, 1, 3, base.vision.imageSize, base.vision.imageSize];
    const together = await sessions.vision.run({ pixels: { type: "float32", data: both, shape } }, ["media_key.1"]);
    const expected = Float32Array.from(media.slice(0, 2).flatMap((each) => [...firstKeys(each)]));
    expect(distance(together["media_key.1"].data, expected)).toBeLessThan(near);
  });
});

function pixels(seed: number): Float32Array {
  const { imageSize } = base.vision;
  return Float32Array.from({ length: 3 * imageSize ** 2 }, (_, index) => Math.sin(seed * 12.9898 + index * 0.781 * seed));
}

function firstKeys({ keys: [first] }: EncodedMedia): Float32Array {
  return first?.type === "float32" ? first.data : new Float32Array(0);
}

function distance(left: Float32Array, right: Float32Array): number {
  if (left.length !== right.length || left.length === 0) return Infinity;
  return left.reduce((most, value, index) => Math.max(most, Math.abs(value - (right[index] ?? NaN))), 0);
}
