/**
 * Computes all that a reference holds, with the engine's own parts, under the reference's own names. Owns which part gives which quantity; refuses judging.
 * From the pixels on it starts at the *expected* pixels, so that a JPEG decoder's level doesn't blur what comes after.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import { tokenisePassage, type TokenisedPassage } from "../generate/passage.ts";
import { Pool } from "../generate/pool.ts";
import type { EncodedMedia } from "../generate/memory.ts";
import { decodePixels } from "../pixels/image.ts";
import type { Media, RowResult, Sequence } from "../model.ts";
import { nearestExamples } from "../rices.ts";
import { samplingProbabilities } from "../sampling.ts";
import type { EngineUnderTest } from "./engine.ts";
import {
  framesOf,
  generationOptions,
  mediaName,
  type ExpectedJson,
  type NamedTensor,
  type Reference,
  type ReferenceCase,
  type ReferenceGeneration,
} from "./reference.ts";

export interface Actual {
  /** In the form of expected.json; generations with options that the engine doesn't know are left out. */
  readonly json: ExpectedJson;
  readonly tensors: Map<string, NamedTensor>;
  /** What the same engine gives in other company; each must equal what it gave alone. */
  readonly company: {
    /** All cases in one run, whatever their shots and lengths, by case. */
    readonly logits: ReadonlyMap<string, Float32Array>;
    /** All generations at once. */
    readonly together: ReadonlyMap<string, SequenceTokens>;
    /** At once, and with everything before the last `<image>` as a shared prefix. */
    readonly prefixed: ReadonlyMap<string, SequenceTokens>;
  };
}

const maxPixels = 100_000_000;

export async function compute(reference: Reference, engine: EngineUnderTest): Promise<Actual> {
  const tensors = new Map<string, NamedTensor>();
  await computeImages(reference, engine, tensors);
  await computeLatents(reference, engine, tensors);
  const cases = await prepareCases(reference, engine);
  const logits = await computeLogits(cases, engine, tensors);
  const generations = await generateAll(reference, engine);
  computeSampling(reference, tensors);
  const json: ExpectedJson = {
    model: reference.json.model,
    tokenizer: computeTokenizer(reference, engine),
    cases: Object.fromEntries(
      Object.entries(reference.json.cases).map(([name, expected]) => [
        name,
        {
          prompt: expected.prompt,
          media: expected.media,
          input_ids: engine.tokenizer.encode(expected.prompt),
          generate: generations.alone.get(name) ?? [],
          rank: generations.ranks.get(name) ?? {},
        },
      ]),
    ),
    ...(reference.json.sampling === undefined ? {} : { sampling: reference.json.sampling }),
    ...(reference.json.rices === undefined ? {} : { rices: computeRices(reference.json.rices, tensors) }),
  };
  return { json, tensors, company: { logits, together: generations.together, prefixed: generations.prefixed } };
}

/** How a generation is told from another of its case. */
export function generationKey(caseName: string, generation: ReferenceGeneration): string {
  return `${caseName} ${JSON.stringify(generation.options)}`;
}

function computeTokenizer({ json }: Reference, { tokenizer }: EngineUnderTest): ExpectedJson["tokenizer"] {
  return {
    size: tokenizer.size,
    special: Object.fromEntries(Object.keys(json.tokenizer.special).map((token) => [token, tokenizer.idOf(token) ?? -1])),
    texts: json.tokenizer.texts.map(({ text }) => {
      const ids = tokenizer.encode(text);
      return { text, ids, decoded: tokenizer.decode(ids, { keepSpecialTokens: true }), decoded_skip_special: tokenizer.decode(ids) };
    }),
  };
}

async function computeImages(reference: Reference, engine: EngineUnderTest, tensors: Map<string, NamedTensor>): Promise<void> {
  const { imageSize } = engine.description.preprocessing;
  for (const name of reference.tensors.keys()) {
    const image = afterPrefix(name, "pixels/");
    if (image === null) continue;
    const bytes = await readFile(join(reference.images, image)).catch((error: unknown) => {
      throw new CodedError("model_piece_missing", `${join(reference.images, image)} isn't there`, { cause: error });
    });
    const pixels = await decodePixels(bytes, engine.description.preprocessing, { maxPixels });
    tensors.set(name, { shape: [3, imageSize, imageSize], data: pixels });
  }
  for (const name of reference.tensors.keys()) {
    for (const output of ["patches", "embedding"] as const) {
      const image = afterPrefix(name, `${output}/`);
      if (image === null) continue;
      const found = (await runVision(engine, [expectedPixels(reference, image)], [output]))[output];
      tensors.set(name, { shape: found.shape.slice(1), data: found.data });
    }
  }
}

async function computeLatents(reference: Reference, engine: EngineUnderTest, tensors: Map<string, NamedTensor>): Promise<void> {
  const known = new Map(Object.values(reference.json.cases).flatMap(({ media }) => media.map((each) => [mediaName(each), framesOf(each)])));
  for (const name of reference.tensors.keys()) {
    const media = afterPrefix(name, "latents/");
    if (media === null) continue;
    const frames = known.get(media) ?? media.split("+");
    const pixels = frames.map((frame) => expectedPixels(reference, frame));
    const { latents } = await runVision(engine, pixels, ["latents"]);
    tensors.set(name, { shape: latents.shape.slice(1), data: latents.data });
  }
}

async function runVision<Name extends "patches" | "embedding" | "latents">(
  { vision, description }: EngineUnderTest,
  frames: Media,
  outputs: readonly Name[],
): Promise<Record<Name, NamedTensor>> {
  const { imageSize } = description.preprocessing;
  const pixels = new Float32Array(frames.length * 3 * imageSize ** 2);
  frames.forEach((frame, index) => pixels.set(frame, index * frame.length));
  return vision.run({ pixels: { type: "float32", data: pixels, shape: [1, frames.length, 3, imageSize, imageSize] } }, outputs);
}

interface PreparedCase {
  readonly name: string;
  readonly passage: TokenisedPassage;
  readonly media: readonly EncodedMedia[];
}

async function prepareCases(reference: Reference, engine: EngineUnderTest): Promise<PreparedCase[]> {
  const { description, tokenizer, runner } = engine;
  const rules = {
    encode: (text: string) => tokenizer.encode(text),
    imageToken: description.specialTokens.image,
    pixelCount: 3 * description.preprocessing.imageSize ** 2,
    maxFrames: description.limits.maxFrames,
  };
  const encoded = new Map<string, EncodedMedia>();
  const prepared: PreparedCase[] = [];
  for (const [name, expected] of Object.entries(reference.json.cases)) {
    const passage = tokenisePassage({ text: expected.prompt, media: mediaOf(reference, expected) }, rules);
    const media: EncodedMedia[] = [];
    for (const { key, frames } of passage.media) {
      const known = encoded.get(key) ?? (await runner.encode(frames));
      encoded.set(key, known);
      media.push(known);
    }
    prepared.push({ name, passage, media });
  }
  return prepared;
}

/** Every position's logits: each case alone into `tensors`, and all in one run as the answer. */
async function computeLogits(
  cases: readonly PreparedCase[],
  engine: EngineUnderTest,
  tensors: Map<string, NamedTensor>,
): Promise<Map<string, Float32Array>> {
  const { vocabulary } = engine.sizes;
  for (const { name, passage, media } of cases) {
    const data = await forwardAll([{ passage, media }], engine);
    tensors.set(`logits/${name}`, { shape: [passage.tokens.length, vocabulary], data });
  }
  const together = await forwardAll(cases, engine);
  let start = 0;
  return new Map(
    cases.map(({ name, passage }) => {
      const end = start + passage.tokens.length * vocabulary;
      const own = together.subarray(start, end);
      start = end;
      return [name, own];
    }),
  );
}

async function forwardAll(
  rows: readonly Pick<PreparedCase, "passage" | "media">[],
  { runner, memory }: EngineUnderTest,
): Promise<Float32Array> {
  const pool = new Pool(memory, 1, 0);
  rows.forEach(() => pool.add(null));
  return runner.forward({
    prefix: null,
    pool,
    from: 0,
    to: rows.length,
    rowsPerGroup: 1,
    rows: rows.map(({ passage }) => passage),
    media: rows.map(({ media }) => media),
    logits: "all",
  });
}

interface Generations {
  readonly alone: Map<string, ReferenceGeneration[]>;
  readonly together: Map<string, SequenceTokens>;
  readonly prefixed: Map<string, SequenceTokens>;
  readonly ranks: Map<string, ReferenceCase["rank"]>;
}

async function generateAll(reference: Reference, { model }: EngineUnderTest): Promise<Generations> {
  const found: Generations = { alone: new Map(), together: new Map(), prefixed: new Map(), ranks: new Map() };
  const waiting: Promise<unknown>[] = [];
  for (const [name, expected] of Object.entries(reference.json.cases)) {
    const media = mediaOf(reference, expected);
    const whole = { id: name, text: expected.prompt, media };
    const cut = Math.max(0, expected.prompt.lastIndexOf("<image>"));
    const prefix = model.openPrefix([{ text: expected.prompt.slice(0, cut), media: media.slice(0, -1) }]);
    const behind = { id: name, prefix, text: expected.prompt.slice(cut), media: media.slice(-1) };
    for (const wanted of expected.generate) {
      const generation = generationOptions(wanted);
      if (generation === null) continue;
      const key = generationKey(name, wanted);
      const result = await model.generate({ ...whole, generation });
      found.alone.set(name, [...(found.alone.get(name) ?? []), asGeneration(wanted, result)]);
      waiting.push(model.generate({ ...whole, generation }).then((row) => found.together.set(key, tokensOf(row))));
      waiting.push(model.generate({ ...behind, generation }).then((row) => found.prefixed.set(key, tokensOf(row))));
    }
    const labels = Object.keys(expected.rank);
    if (labels.length === 0) continue;
    const { candidates: ranked } = await model.rank({ ...behind, candidates: labels });
    found.ranks.set(
      name,
      Object.fromEntries(ranked.map(({ tokens, sum, mean }, index) => [labels[index] ?? "", { tokens: [...tokens], sum, mean }])),
    );
  }
  await Promise.all(waiting);
  return found;
}

function asGeneration({ options }: ReferenceGeneration, row: RowResult): ReferenceGeneration {
  const sequences = sequencesOf(row);
  const scores = sequences.flatMap(({ score }) => (score === undefined ? [] : [score]));
  return { options, tokens: tokensOf(row), scores: scores.length === 0 ? null : scores, text: sequences.map(({ text }) => text) };
}

/** The sequences of one answer, the best first. */
export type SequenceTokens = number[][];

function tokensOf(row: RowResult): SequenceTokens {
  return sequencesOf(row).map(({ tokens }) => [...tokens]);
}

function sequencesOf(row: RowResult): Sequence[] {
  return [row, ...(row.alternatives ?? [])];
}

function computeSampling({ json }: Reference, tensors: Map<string, NamedTensor>): void {
  if (json.sampling === undefined) return;
  const source = tensors.get(json.sampling.logits.split(" ")[0] ?? "");
  if (source === undefined)
    throw new CodedError("model_piece_corrupt", `expected.json samples from ${json.sampling.logits}, which isn't a case's logits`);
  const vocabulary = source.shape.at(-1) ?? 0;
  const last = source.data.subarray(source.data.length - vocabulary);
  for (const { temperature, top_k: topK, top_p: topP, tensor } of json.sampling.filters) {
    tensors.set(tensor, { shape: [vocabulary], data: Float32Array.from(samplingProbabilities(last, { temperature, topK, topP })) });
  }
}

function computeRices(
  { pool, shots, order }: NonNullable<ExpectedJson["rices"]>,
  tensors: ReadonlyMap<string, NamedTensor>,
): NonNullable<ExpectedJson["rices"]> {
  const embeddingOf = (image: string): Float32Array => present(tensors.get(`embedding/${image}`), `embedding/${image}`).data;
  const candidates = pool.map((image) => ({ id: image, embedding: embeddingOf(image) }));
  const nearest = (image: string): string[] => nearestExamples(embeddingOf(image), candidates, shots);
  return { pool, shots, order: Object.fromEntries(Object.keys(order).map((image) => [image, nearest(image)])) };
}

function mediaOf(reference: Reference, { media }: ReferenceCase): Media[] {
  return media.map((each) => framesOf(each).map((image) => expectedPixels(reference, image)));
}

function expectedPixels(reference: Reference, image: string): Float32Array {
  return present(reference.tensors.get(`pixels/${image}`), `pixels/${image}`).data;
}

function present<Value>(value: Value | undefined, what: string): Value {
  if (value === undefined) throw new CodedError("model_piece_corrupt", `the reference has no ${what}`);
  return value;
}

function afterPrefix(name: string, prefix: string): string | null {
  return name.startsWith(prefix) ? name.slice(prefix.length) : null;
}
