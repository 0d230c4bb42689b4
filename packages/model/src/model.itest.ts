/**
 * An open model as the worker sees it, on one of the small references. That its texts are OpenFlamingo's is parity's; here stand the laws of the loop.
 * One file, for making and opening a model costs seconds and all of them look at the same one.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryUsage } from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { CodedError } from "@flamboyance/contracts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openSession } from "./device/cpu-session.ts";
import { folderFiles } from "./description.ts";
import { readModelFolder } from "./folder.ts";
import { importModel } from "./import-model.ts";
import type { GenerationOptions, Model, Passage, RowRequest, RowResult, Sequence } from "./model.ts";
import { assembleModel, openModel } from "./open-model.ts";
import { readReference, type Reference } from "./parity/reference.ts";
import type { Session } from "./session.ts";
import { openTokenizer, type Tokenizer } from "./tokenizer.ts";

let parent: string;
let folder: string;
let reference: Reference;
let model: Model;

beforeAll(async () => {
  reference = await readReference(join(import.meta.dirname, "..", "reference", "mpt"));
  parent = await mkdtemp(join(tmpdir(), "flamboyance-model-"));
  folder = join(parent, "mpt");
  await importModel(reference.pieces, folder);
});
afterAll(() => rm(parent, { recursive: true }));
beforeEach(async () => {
  model = await openModel(folder, { maxRows: 6, threads: 1 });
});
afterEach(() => model.close());

const image = (name: string): Float32Array[] => {
  const pixels = reference.tensors.get(`pixels/${name}`);
  if (pixels === undefined) throw new Error(`the reference has no ${name}`);
  return [pixels.data];
};
const images = ["scene.png", "photo.jpg", "gray.png", "alpha.png", "wide.webp"];
const examples = (): Passage[] => [
  { text: "<image>Output:red<|endofchunk|>", media: [image("tall.jpg")] },
  { text: "Output:two people<|endofchunk|>", media: [] },
];

/** Rows of all lengths and shots, by a seed. */
function someRows(count: number, seed: number): RowRequest[] {
  let state = seed;
  const next = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
  return Array.from({ length: count }, (_, index) => {
    const shots = next(3);
    const media = Array.from({ length: shots + 1 }, () => image(images[next(images.length)] ?? "scene.png"));
    const text =
      ["", "Some words first. "][next(2)] +
      "<image>Output:a dog<|endofchunk|>".repeat(shots) +
      ["<image>Output:", "<image>Question:How many? Short answer:"][next(2)];
    return { id: `row-${index}`, text, media, generation: { maxNewTokens: 1 + next(12), minNewTokens: next(4) } };
  });
}

const tokenizerOf = (modelFolder: string): Tokenizer => openTokenizer(readFileSync(join(modelFolder, folderFiles.tokenizer), "utf8"));

/** Tests of many runs, where the machine has other things to do. */
const manyRunsMs = 60_000;

const sequences = ({ tokens, alternatives = [] }: RowResult): unknown => [tokens, ...alternatives.map((each) => each.tokens)];

describe("an open model", () => {
  it(
    "gives a row the same tokens alone, in company, in another order and behind a shared prefix",
    async () => {
      const rows = someRows(16, 7);
      const alone: (readonly number[])[] = [];
      for (const row of rows) alone.push((await model.generate(row)).tokens);
      const together = await Promise.all(rows.map((row) => model.generate(row)));
      expect(together.map(({ tokens }) => tokens)).toEqual(alone);
      const reversed = await Promise.all(rows.toReversed().map((row) => model.generate(row)));
      expect(reversed.map(({ tokens }) => tokens).toReversed()).toEqual(alone);

      const prefix = model.openPrefix(examples());
      const text = examples()
        .map((example) => example.text)
        .join("");
      const media = examples().flatMap((example) => example.media);
      const behind = await Promise.all(rows.map((row) => model.generate({ ...row, prefix })));
      const spelled = await Promise.all(
        rows.map((row) => model.generate({ ...row, text: text + row.text, media: [...media, ...row.media] })),
      );
      expect(behind.map(({ tokens }) => tokens)).toEqual(spelled.map(({ tokens }) => tokens));
      expect(behind.map(({ promptTokens }) => promptTokens)).toEqual(spelled.map(({ promptTokens }) => promptTokens));
      expect(behind.every(({ cachedTokens }) => cachedTokens === prefix.tokens)).toBe(true);
    },
    manyRunsMs,
  );

  it.each(["int8", "int4"] as const)(
    "gives a row the same tokens alone and in company in %s, from a smaller folder of another hash",
    async (precision) => {
      const rounded = join(parent, precision);
      const exact = await readModelFolder(folder);
      const { contentHash, files } = await importModel(reference.pieces, rounded, { precision });
      expect(contentHash).not.toBe(exact.contentHash);
      const weights = (of: typeof files) =>
        (of[folderFiles.visionWeights]?.sizeBytes ?? 0) + (of[folderFiles.decoderWeights]?.sizeBytes ?? 0);
      expect(weights(files)).toBeLessThan(weights(exact.files) / 2);

      const other = await openModel(rounded, { maxRows: 6, threads: 1 });
      try {
        const rows = someRows(12, 11);
        const alone: (readonly number[])[] = [];
        for (const row of rows) alone.push((await other.generate(row)).tokens);
        const together = await Promise.all(rows.map((row) => other.generate(row)));
        expect(together.map(({ tokens }) => tokens)).toEqual(alone);
      } finally {
        await other.close();
      }
    },
    manyRunsMs,
  );

  it(
    "runs beams, greedy rows and rankings side by side, each as it is alone",
    async () => {
      const prefix = model.openPrefix(examples());
      const rows = someRows(9, 21).map((row, index) => ({
        ...row,
        ...(index % 2 === 0 ? { prefix } : {}),
        generation: { maxNewTokens: 6, numBeams: 1 + (index % 3), numReturnSequences: 1 + (index % 3), lengthPenalty: index % 2 },
      }));
      const labels = {
        id: "labels",
        prefix,
        text: "<image>Output:",
        media: [image("scene.png")],
        candidates: ["a red circle", "blue", "two people and a dog"],
      };
      const alone: unknown[] = [];
      for (const row of rows) alone.push(sequences(await model.generate(row)));
      const { candidates: ranked } = await model.rank(labels);
      const [rankedTogether, ...together] = await Promise.all([model.rank(labels), ...rows.map((row) => model.generate(row))]);
      expect(together.map(sequences)).toEqual(alone);
      expect(together.map(({ alternatives }) => alternatives?.length ?? 0)).toEqual(rows.map((_, index) => index % 3));
      expect(rankedTogether.candidates.map(({ sum }) => sum.toFixed(3))).toEqual(ranked.map(({ sum }) => sum.toFixed(3)));

      const firstLabel = await model.rank({ ...labels, candidates: labels.candidates.slice(0, 1) });
      expect(firstLabel.candidates[0]?.sum).toBeCloseTo(ranked[0]?.sum ?? 0, 3);
    },
    manyRunsMs,
  );

  it(
    "draws the same texts for the same seed, alone, in company and in another order; others for another seed or name",
    async () => {
      const prefix = model.openPrefix(examples());
      const rows = someRows(10, 13).map((row, index) => ({
        ...row,
        ...(index % 2 === 0 ? { prefix } : {}),
        generation: {
          maxNewTokens: 8,
          sampling: { seed: 5, temperature: 1.3, topP: 0.95, ...(index % 4 === 0 ? { topK: 40 } : {}) },
          numReturnSequences: 1 + (index % 3),
        },
      }));
      const alone: unknown[] = [];
      for (const row of rows) alone.push(sequences(await model.generate(row)));
      expect((await Promise.all(rows.map((row) => model.generate(row)))).map(sequences)).toEqual(alone);
      const reversed = await Promise.all(rows.toReversed().map((row) => model.generate(row)));
      expect(reversed.map(sequences).toReversed()).toEqual(alone);

      const [row] = rows;
      if (row === undefined) throw new Error("no row");
      const drawn = async (seed: number, drawnAs: string): Promise<unknown> =>
        sequences(await model.generate({ ...row, drawnAs, generation: { ...row.generation, sampling: { seed } } }));
      const first = await drawn(1, "name");
      expect(await drawn(1, "name")).toEqual(first);
      expect(await drawn(2, "name")).not.toEqual(first);
      expect(await drawn(1, "other name")).not.toEqual(first);
    },
    manyRunsMs,
  );

  it("draws several texts of one row that differ, the first of them as if it were alone", async () => {
    const row = { id: "row", text: "<image>Output:", media: [image("scene.png")] };
    const generation = { maxNewTokens: 10, minNewTokens: 10, sampling: { seed: 3, temperature: 2 } };
    const one = await model.generate({ ...row, generation });
    const four = await model.generate({ ...row, generation: { ...generation, numReturnSequences: 4 } });
    expect(four.tokens).toEqual(one.tokens);
    expect(new Set([four, ...(four.alternatives ?? [])].map(({ tokens }) => tokens.join())).size).toBe(4);
    expect(model.stats().newTokens).toBe(50);
  });

  it("ends a text before a stop string that spans tokens, and says nothing of it where none comes", async () => {
    const row = { id: "row", text: "<image>Output:", media: [image("scene.png")] };
    const whole = await model.generate({ ...row, generation: { maxNewTokens: 20, minNewTokens: 20 } });
    const texts = whole.tokens.map((token) => tokenizerOf(folder).decode([token]));
    // From the middle of a token to the middle of a later one.
    const [from = NaN, to = NaN] = texts.flatMap((text, index) => (text.length > 1 && !text.includes("\uFFFD") ? [index] : []));
    const before = texts.slice(0, from).join("") + texts[from]?.slice(0, 1);
    const stop = whole.text.slice(before.length, texts.slice(0, to + 1).join("").length - 1);
    expect(whole.text.indexOf(stop)).toBe(before.length);
    const stopped = await model.generate({ ...row, generation: { maxNewTokens: 20, minNewTokens: 20, stop: ["nowhere", stop] } });
    expect(stopped).toMatchObject({ text: before, tokens: whole.tokens.slice(0, to + 1), finish: "stop" });
    const free = await model.generate({ ...row, generation: { maxNewTokens: 20, minNewTokens: 20, stop: ["nowhere"] } });
    expect(free).toMatchObject({ text: whole.text, tokens: whole.tokens, finish: "length" });
  });

  it("says how likely each token was, where asked: the same for greedy, beams, sampling and ranking", async () => {
    const row = { id: "row", text: "<image>Output:", media: [image("scene.png")] };
    const ask = (generation: Partial<GenerationOptions>): Promise<RowResult> =>
      model.generate({ ...row, generation: { maxNewTokens: 6, logProbabilities: true, ...generation } });
    const sumOf = ({ logProbabilities }: Sequence): number => (logProbabilities ?? []).reduce((sum, each) => sum + each.logProbability, 0);

    const greedy = await ask({});
    expect(greedy.logProbabilities).toHaveLength(greedy.tokens.length);
    const candidate = greedy.logProbabilities?.map(({ text }) => text).join("") ?? "";
    const { candidates } = await model.rank({ ...row, candidates: [candidate] });
    expect(candidates[0]?.tokens).toEqual(greedy.tokens);
    expect(sumOf(greedy)).toBeCloseTo(candidates[0]?.sum ?? NaN, 4);
    // The likeliest token alone has a chance: what is sampled is what is greedy, and as likely as the model finds it.
    const sampled = await ask({ sampling: { seed: 1, topK: 1, temperature: 0.1 } });
    expect(sampled.logProbabilities).toEqual(greedy.logProbabilities);

    const beams = await ask({ numBeams: 3, numReturnSequences: 3 });
    for (const sequence of [beams, ...(beams.alternatives ?? [])]) expect(sumOf(sequence)).toBeCloseTo(sequence.score ?? NaN, 9);
    expect((await ask({ logProbabilities: false })).logProbabilities).toBeUndefined();
  });

  it("reads a prefix once, also when an equal one is opened again, and encodes an image once", async () => {
    const ask = (prefix = model.openPrefix(examples())): Promise<unknown> =>
      model.generate({ id: "row", prefix, text: "<image>Output:", media: [image("scene.png")], generation: { maxNewTokens: 2 } });
    await Promise.all([ask(), ask(), ask()]);
    await ask();
    expect(model.stats().prefixes).toMatchObject({ prefilled: 1, hits: 3 });
    expect(model.stats().media.encoded).toBe(2);
  });

  it("keeps a prefix's unfinished last words out of what is shared", async () => {
    const prefix = model.openPrefix([{ text: "<image>Output:red<|endofchunk|>Now: ", media: [image("tall.jpg")] }]);
    const generation = { maxNewTokens: 8 };
    const behind = await model.generate({ id: "behind", prefix, text: "a <image>Output:", media: [image("scene.png")], generation });
    const text = "<image>Output:red<|endofchunk|>Now: a <image>Output:";
    const spelled = await model.generate({ id: "spelled", text, media: [image("tall.jpg"), image("scene.png")], generation });
    expect(behind.tokens).toEqual(spelled.tokens);
  });

  it("takes a dialogue's earlier turns as a prefix, whether the next turn brings an image or asks on about the last one", async () => {
    const turns = [
      { text: "<image>Question:Who is there? Short answer:two people<|endofchunk|>", media: [image("tall.jpg")] },
      { text: "Question:And a dog? Short answer:no<|endofchunk|>", media: [] },
    ];
    const next = [
      { text: "Question:What colour? Short answer:", media: [] },
      { text: "<image>Question:And here? Short answer:", media: [image("scene.png")] },
    ];
    const prefix = model.openPrefix(turns);
    const generation = { maxNewTokens: 8, minNewTokens: 3 };
    const found = await Promise.all(next.map((turn, index) => model.generate({ id: `turn-${index}`, ...turn, prefix, generation })));
    const whole = next.map((turn) => ({
      text: [...turns, turn].map(({ text }) => text).join(""),
      media: [...turns, turn].flatMap(({ media }) => media),
    }));
    const spelled = await Promise.all(whole.map((turn, index) => model.generate({ id: `whole-${index}`, ...turn, generation })));
    expect(found.map(({ tokens }) => tokens)).toEqual(spelled.map(({ tokens }) => tokens));
    expect(found.every(({ cachedTokens }) => cachedTokens === prefix.tokens)).toBe(true);
    // The image of the first turn, which the second answer still looks at, was encoded once for both ways.
    expect(model.stats().media.encoded).toBe(2);
  });

  it("runs rows together, and lets others in as some end", async () => {
    await Promise.all(someRows(20, 3).map((row) => model.generate(row)));
    const { rowsPerStep, rows } = model.stats();
    expect(Math.max(...Object.keys(rowsPerStep).map(Number))).toBeGreaterThan(3);
    expect(Math.max(...Object.keys(rowsPerStep).map(Number))).toBeLessThanOrEqual(6);
    expect(rows).toMatchObject({ started: 20, ended: 20 });
  });

  it("answers after a single token where the prompt's end already ends the row", async () => {
    const found = await model.generate({
      id: "short",
      text: "<image>Output:",
      media: [image("scene.png")],
      generation: { maxNewTokens: 1 },
    });
    expect(found.tokens).toHaveLength(1);
  });

  it("gives the same tokens where the caches have room for nothing, and rows that share images and prefixes come, wait and are given up", async () => {
    const prefixes = [examples(), examples().toReversed()];
    const ask = (by: Model, signal?: AbortSignal): Promise<RowResult>[] => {
      const opened = prefixes.map((passages) => by.openPrefix(passages));
      return someRows(16, 13).map((row, index) => {
        const prefix = opened[index % 3];
        return by.generate({ ...row, ...(prefix === undefined ? {} : { prefix }) }, index % 5 === 1 ? signal : undefined);
      });
    };
    const roomy = await Promise.all(ask(model));
    const tight = await openModel(folder, { maxRows: 6, threads: 1, maxCacheBytes: 1 });
    const controller = new AbortController();
    const settled = Promise.allSettled(ask(tight, controller.signal));
    while (tight.stats().steps < 4) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    const found = (await settled).flatMap((outcome, index) => (outcome.status === "fulfilled" ? [{ index, ...outcome.value }] : []));
    expect(found.map(({ tokens }) => tokens)).toEqual(found.map(({ index }) => roomy[index]?.tokens));
    expect(found.length).toBeGreaterThan(12);
    const again = await Promise.all(ask(tight));
    expect(again.map(({ tokens }) => tokens)).toEqual(roomy.map(({ tokens }) => tokens));
    const { media, prefixes: read } = tight.stats();
    await tight.close();
    // Encoded and read anew: they were gone. Only the entry that came last may stay, so that its owner can use it.
    expect(media.encoded).toBeGreaterThan(model.stats().media.encoded);
    expect(read.prefilled).toBeGreaterThan(2);
  });

  it("gives back what rows held when they end: the caches' bytes are all that stays", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const heldBytes = async (): Promise<number> => {
      // What the collector finds goes in a later turn.
      for (let turn = 0; turn < 3; turn++) {
        collect();
        await new Promise((resolve) => setImmediate(resolve));
      }
      const { media, prefixes } = model.stats();
      return memoryUsage().arrayBuffers - media.bytes - prefixes.bytes;
    };
    const prefix = model.openPrefix(examples());
    const round = async (): Promise<void> => {
      const rows = someRows(12, 5).map((row) => ({ ...row, prefix, generation: { maxNewTokens: 40, minNewTokens: 40, numBeams: 3 } }));
      await Promise.all(rows.map((row) => model.generate(row)));
    };
    await round();
    const before = await heldBytes();
    for (let again = 0; again < 3; again++) await round();
    expect(Math.abs((await heldBytes()) - before)).toBeLessThan(100_000);
  });

  it("gives up a row whose signal aborts, waiting or running, and no other", async () => {
    const controllers = Array.from({ length: 12 }, () => new AbortController());
    const rows = someRows(12, 5).map((row) => ({ ...row, generation: { maxNewTokens: 30, minNewTokens: 30 } }));
    const answers = rows.map((row, index) => model.generate(row, controllers[index]?.signal));
    const settled = Promise.allSettled(answers);
    // Once some run and some wait: six fit.
    while (model.stats().steps < 3) await new Promise((resolve) => setImmediate(resolve));
    for (const index of [0, 3, 11]) controllers[index]?.abort(new Error("no longer wanted"));
    const outcomes = await settled;
    const given = outcomes.flatMap((outcome, index) => (outcome.status === "rejected" ? [index] : []));
    expect(given).toEqual([0, 3, 11]);
    await expect(answers[0]).rejects.toMatchObject({ code: "aborted" });
    expect(model.stats().rows).toEqual({ started: 12, ended: 9, cancelled: 3 });
    const again = await Promise.all(rows.slice(0, 2).map((row) => model.generate(row)));
    expect(again[1]?.tokens).toEqual(outcomes[1]?.status === "fulfilled" ? outcomes[1].value.tokens : null);
  });

  it("refuses prompts that are too long, before anything runs", async () => {
    const { maxPromptTokens } = model.description.limits;
    const long = {
      id: "long",
      text: `<image>${"word ".repeat(maxPromptTokens)}`,
      media: [image("scene.png")],
      generation: { maxNewTokens: 5 },
    };
    await expect(model.generate(long)).rejects.toMatchObject({ code: "prompt_too_long" });
    const patient = {
      id: "patient",
      text: "<image>",
      media: [image("scene.png")],
      generation: { maxNewTokens: model.description.limits.maxPositions },
    };
    await expect(model.generate(patient)).rejects.toMatchObject({ code: "prompt_too_long" });
    expect(() => model.openPrefix([{ text: "word ".repeat(maxPromptTokens) + "<|endofchunk|>", media: [] }])).toThrow(
      expect.objectContaining({ code: "prompt_too_long" }),
    );
    expect(model.stats().rows.started).toBe(0);
  });

  it("refuses requests that make no sense", async () => {
    const good: RowRequest = { id: "row", text: "<image>", media: [image("scene.png")], generation: { maxNewTokens: 2 } };
    const stranger = { id: "x", tokens: 3 };
    const bad: RowRequest[] = [
      { ...good, media: [] },
      { ...good, text: "", media: [] },
      { ...good, media: [[new Float32Array(3)]] },
      { ...good, generation: { maxNewTokens: 0 } },
      { ...good, prefix: stranger },
      { ...good, generation: { maxNewTokens: 2, numBeams: 0 } },
      { ...good, generation: { maxNewTokens: 2, numBeams: 2, numReturnSequences: 3 } },
      { ...good, generation: { maxNewTokens: 2, numBeams: 2, stop: ["."] } },
    ];
    for (const row of bad) await expect(model.generate(row)).rejects.toMatchObject({ code: "invalid_request" });
    for (const candidates of [[], ["yes", ""]]) {
      await expect(model.rank({ ...good, candidates })).rejects.toMatchObject({ code: "invalid_request" });
    }
  });

  it("answers text without any image, and text in front of the first one", async () => {
    const found = await model.generate({ id: "text", text: "Output:", media: [], generation: { maxNewTokens: 3 } });
    expect(found.tokens.length).toBeGreaterThan(0);
  });

  it("gives up what runs and waits when it closes, and takes nothing more", async () => {
    const rows = someRows(10, 9).map((row) => ({ ...row, generation: { maxNewTokens: 40, minNewTokens: 40 } }));
    const settled = Promise.allSettled(rows.map((row) => model.generate(row)));
    while (model.stats().steps < 2) await new Promise((resolve) => setImmediate(resolve));
    await model.close();
    for (const outcome of await settled) expect(outcome).toMatchObject({ status: "rejected", reason: { code: "aborted" } });
    await expect(model.generate({ id: "late", text: "Output:", media: [], generation: { maxNewTokens: 1 } })).rejects.toMatchObject({
      code: "aborted",
    });
  });

  it("tells every row of a fault of the engine, and serves the next ones", async () => {
    const faults = { left: 0 };
    const faulty = (session: Session): Session => ({
      ...session,
      run: (inputs, outputs, kept) => {
        if (faults.left === 0) return session.run(inputs, outputs, kept);
        faults.left -= 1;
        return Promise.reject(new CodedError("engine_failed", "out of memory"));
      },
    });
    const shaky = assembleModel({
      description: await readModelFolder(folder),
      tokenizer: openTokenizer(await readFile(join(folder, folderFiles.tokenizer), "utf8")),
      vision: await openSession(join(folder, folderFiles.visionGraph), { threads: 1 }),
      decoder: faulty(await openSession(join(folder, folderFiles.decoderGraph), { threads: 1 })),
    });
    const rows = someRows(5, 11);
    const before = await Promise.all(rows.map((row) => shaky.generate(row)));
    faults.left = 1;
    for (const outcome of await Promise.allSettled(rows.map((row) => shaky.generate(row)))) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "engine_failed" } });
    }
    const after = await Promise.all(rows.map((row) => shaky.generate(row)));
    expect(after.map(({ tokens }) => tokens)).toEqual(before.map(({ tokens }) => tokens));
    expect(shaky.stats().rows).toMatchObject({ started: 15, ended: 10 });
    await shaky.close();
  });

  it("isn't opened where the folder isn't one", async () => {
    await expect(openModel(parent)).rejects.toMatchObject({ code: "model_folder_invalid" });
  });
});
