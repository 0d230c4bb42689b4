/** Compares what was computed with what is expected, quantity by quantity, within the limits of the references' README. Owns limits and verdicts; refuses computing. */
import { clipNormalisation } from "../description.ts";
import { generationKey, type Actual } from "./compute.ts";
import { generationOptions, type NamedTensor, type Reference } from "./reference.ts";

export interface Comparison {
  readonly quantity: string;
  /** How many things were compared. */
  readonly count: number;
  /** The largest difference; null where things are equal or not. */
  readonly maxError: number | null;
  readonly limit: string;
  readonly verdict: "holds" | "fails";
  /** The first thing that is past the limit. */
  readonly firstFault: string | null;
}

/** Patches, latents, embeddings, logits, probabilities. */
const absoluteLimit = 1e-4;
/** Scores and ranks, by max(1, |value|). */
const relativeLimit = 1e-4;

export function compare(reference: Reference, actual: Actual): Comparison[] {
  const { json } = reference;
  const cases = Object.entries(json.cases);
  const generations = cases.flatMap(([name, { generate }]) =>
    generate.map((generation) => ({ key: generationKey(name, generation), generation })),
  );
  const unknown = generations.filter(({ generation }) => generationOptions(generation) === null);
  const computed = generations.filter((each) => !unknown.includes(each));
  const greedy = computed.filter(({ generation }) => generation.scores === null);
  const beams = computed.filter((each) => !greedy.includes(each));
  const aloneByKey = new Map(
    Object.entries(actual.json.cases).flatMap(([name, { generate }]) =>
      generate.map((generation) => [generationKey(name, generation), generation] as const),
    ),
  );
  const ranks = cases.flatMap(([name, { rank }]) =>
    Object.entries(rank).map(([label, expected]) => ({
      name: `${name} ${JSON.stringify(label)}`,
      expected,
      found: actual.json.cases[name]?.rank[label],
    })),
  );

  return [
    exactly("tokenizer", [
      ["size", json.tokenizer.size, actual.json.tokenizer.size] as const,
      ["special tokens", json.tokenizer.special, actual.json.tokenizer.special] as const,
      ...json.tokenizer.texts.map((text, index) => [JSON.stringify(text.text), text, actual.json.tokenizer.texts[index]] as const),
    ]),
    ...comparePixels(reference, actual),
    within("patches", reference, actual.tensors, "patches/"),
    within("embedding", reference, actual.tensors, "embedding/"),
    exactly(
      "rices",
      Object.entries(json.rices?.order ?? {}).map(([image, order]) => [image, order, actual.json.rices?.order[image]] as const),
    ),
    within("latents", reference, actual.tensors, "latents/"),
    exactly(
      "prompt tokens",
      cases.map(([name, { input_ids }]) => [name, input_ids, actual.json.cases[name]?.input_ids] as const),
    ),
    within("logits", reference, actual.tensors, "logits/"),
    within("logits, all cases in one run", reference, asTensors(actual.company.logits), "logits/"),
    within("probabilities", reference, actual.tensors, "probabilities/"),
    ...(
      [
        ["greedy", greedy],
        ["beams", beams],
      ] as const
    ).flatMap(([kind, chosen]) => [
      exactly(
        `${kind}: tokens`,
        chosen.map(({ key, generation }) => [key, generation.tokens, aloneByKey.get(key)?.tokens] as const),
      ),
      exactly(
        `${kind}: text`,
        chosen.map(({ key, generation }) => [key, generation.text, aloneByKey.get(key)?.text] as const),
      ),
      exactly(
        `${kind}: tokens, all at once`,
        chosen.map(({ key, generation }) => [key, generation.tokens, actual.company.together.get(key)] as const),
      ),
      exactly(
        `${kind}: tokens, shared prefix`,
        chosen.map(({ key, generation }) => [key, generation.tokens, actual.company.prefixed.get(key)] as const),
      ),
    ]),
    judged(
      "beams: scores",
      beams.map(({ key, generation }) => [key, relativeError(generation.scores ?? [], aloneByKey.get(key)?.scores ?? [])] as const),
      relativeLimit,
      "1e-4, relative above 1",
    ),
    exactly(
      "ranks: tokens",
      ranks.map(({ name, expected, found }) => [name, expected.tokens, found?.tokens] as const),
    ),
    judged(
      "ranks: sums and means",
      ranks.map(
        ({ name, expected, found }) =>
          [name, relativeError([expected.sum, expected.mean], found === undefined ? [] : [found.sum, found.mean])] as const,
      ),
      relativeLimit,
      "1e-4, relative above 1",
    ),
    ...unknownOptions(unknown),
    ...unknownTensors(reference),
  ].filter(({ count }) => count > 0);
}

/** Lossless images bit for bit; JPEG within one level of 255, as decoders may differ. */
function comparePixels(reference: Reference, actual: Actual): Comparison[] {
  const { std } = clipNormalisation;
  const names = [...reference.tensors.keys()].filter((name) => name.startsWith("pixels/"));
  const isJpeg = (name: string): boolean => /\.jpe?g$/i.test(name);
  const levels = (name: string): number => {
    const expected = reference.tensors.get(name)?.data ?? new Float32Array(0);
    const found = actual.tensors.get(name)?.data;
    if (found?.length !== expected.length) return Infinity;
    const area = expected.length / 3;
    return expected.reduce(
      (most, value, index) => larger(most, Math.abs(value - (found[index] ?? NaN)) * 255 * (std[Math.floor(index / area)] ?? NaN)),
      0,
    );
  };
  // A level is a whole number; what differs less is the rounding of this very measure.
  return [
    judged(
      "pixels, lossless images (levels)",
      names.filter((name) => !isJpeg(name)).map((name) => [name, levels(name)] as const),
      0,
      "0",
    ),
    judged(
      "pixels, JPEG (levels)",
      names.filter(isJpeg).map((name) => [name, levels(name)] as const),
      1.001,
      "1",
    ),
  ];
}

function within(quantity: string, reference: Reference, actual: ReadonlyMap<string, NamedTensor>, prefix: string): Comparison {
  const errors = [...reference.tensors]
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, expected]) => [name, difference(expected, actual.get(name))] as const);
  return judged(quantity, errors, absoluteLimit, "1e-4");
}

function judged(quantity: string, errors: readonly (readonly [string, number])[], limit: number, written: string): Comparison {
  const fault = errors.find(([, error]) => !(error <= limit));
  const maxError = errors.reduce((most, [, error]) => larger(most, error), 0);
  return {
    quantity,
    count: errors.length,
    maxError,
    limit: written,
    verdict: fault === undefined ? "holds" : "fails",
    firstFault: fault?.[0] ?? null,
  };
}

function exactly(quantity: string, pairs: readonly (readonly [name: string, expected: unknown, found: unknown])[]): Comparison {
  const fault = pairs.find(([, expected, found]) => JSON.stringify(expected) !== JSON.stringify(found));
  return {
    quantity,
    count: pairs.length,
    maxError: null,
    limit: "equal",
    verdict: fault === undefined ? "holds" : "fails",
    firstFault: fault === undefined ? null : `${fault[0]}: ${JSON.stringify(fault[2])} where ${JSON.stringify(fault[1])} is expected`,
  };
}

/** Nor may a generation that the engine can't be asked for. */
function unknownOptions(generations: readonly { readonly key: string }[]): Comparison[] {
  return generations.length === 0
    ? []
    : [
        {
          quantity: "generations with unknown options",
          count: generations.length,
          maxError: null,
          limit: "",
          verdict: "fails",
          firstFault: generations[0]?.key ?? null,
        },
      ];
}

/** A quantity that nobody computes must not pass unseen. */
function unknownTensors({ tensors }: Reference): Comparison[] {
  const known = ["pixels/", "patches/", "embedding/", "latents/", "logits/", "probabilities/"];
  const unknown = [...tensors.keys()].filter((name) => !known.some((prefix) => name.startsWith(prefix)));
  return unknown.length === 0
    ? []
    : [{ quantity: "unknown tensors", count: unknown.length, maxError: null, limit: "", verdict: "fails", firstFault: unknown[0] ?? null }];
}

function difference(expected: NamedTensor, found: NamedTensor | undefined): number {
  if (found === undefined || found.data.length !== expected.data.length) return Infinity;
  return expected.data.reduce((most, value, index) => larger(most, Math.abs(value - (found.data[index] ?? NaN))), 0);
}

function relativeError(expected: readonly number[], found: readonly number[]): number {
  if (found.length !== expected.length) return Infinity;
  return expected.reduce((most, value, index) => larger(most, Math.abs(value - (found[index] ?? NaN)) / Math.max(1, Math.abs(value))), 0);
}

/** NaN counts as infinitely wrong. */
function larger(most: number, error: number): number {
  return Number.isNaN(error) ? Infinity : Math.max(most, error);
}

function asTensors(logits: ReadonlyMap<string, Float32Array>): Map<string, NamedTensor> {
  return new Map([...logits].map(([name, data]) => [`logits/${name}`, { shape: [data.length], data }]));
}
