/**
 * Random rows: prompts, shots, strategies, when each comes and whether it is given up. Owns what may occur; refuses running it. Equal seeds give equal cases,
 * whatever is done with those before.
 */
import type { GenerationOptions, Media, Passage } from "../model.ts";
import { randomNumbers } from "../random-model.ts";

export interface FuzzCase {
  readonly id: string;
  readonly examples: readonly Passage[];
  readonly query: Passage;
  /** In company the examples are a shared prefix, or spelled out before the query. */
  readonly sharesPrefix: boolean;
  readonly work:
    | { readonly kind: "generate"; readonly generation: GenerationOptions }
    | { readonly kind: "rank"; readonly candidates: readonly string[] };
  /** Decode steps after its wave's start. */
  readonly joinsAt: number;
  /** After how many further steps it is given up; null: never. */
  readonly givenUpAfter: number | null;
}

const answers = ["a red circle", "two people and a dog", "blue", "a cat", "é ü 漢字", "3", "many small birds on a wire"];
const questions = ["How many?", "What colour is it?", "Is this a dog or a cat, and why do you think so?"];
const openings = ["", "Some words first. ", "In 2024: "];
const stopStrings = ["e", " a", "th", "ed c", ".", "o", "\n"];

/** Case number `index` of the seed; its images are drawn from `media`. */
export function randomCase(seed: number, index: number, media: readonly Media[]): FuzzCase {
  const next = randomNumbers(`fuzz/${seed}/${index}`);
  const below = (count: number): number => Math.floor(next() * count);
  const chance = (share: number): boolean => next() < share;
  const one = <Item>(items: readonly Item[]): Item => {
    const item = items[below(items.length)];
    if (item === undefined) throw new RangeError("there is nothing to choose from");
    return item;
  };

  const asks = chance(0.5);
  const ask = (): string => (asks ? `Question:${one(questions)} Short answer:` : "Output:");
  // Few sets of examples, so that rows meet behind one prefix.
  const examples = exampleSet(seed, below(6), media);
  const withImage = chance(0.95);
  const query = { text: `${withImage ? "" : "Text only. "}${withImage ? one(openings) : ""}${withImage ? "<image>" : ""}${ask()}` };
  return {
    id: `case-${index}`,
    examples,
    query: { ...query, media: withImage ? [one(media)] : [] },
    sharesPrefix: chance(0.7),
    work: chance(0.1)
      ? { kind: "rank", candidates: someOf(answers, 1 + below(4), below) }
      : { kind: "generate", generation: someGeneration() },
    joinsAt: below(40),
    givenUpAfter: chance(0.1) ? below(12) : null,
  };

  function someGeneration(): GenerationOptions {
    const base = {
      maxNewTokens: 1 + below(16),
      ...(chance(0.3) ? { minNewTokens: below(8) } : {}),
      ...(chance(0.3) ? { logProbabilities: true } : {}),
    };
    const strategy = next();
    if (strategy < 0.35) {
      const numBeams = 2 + below(5);
      return {
        ...base,
        numBeams,
        numReturnSequences: 1 + below(numBeams),
        lengthPenalty: one([-2, -1, 0, 0, 0.5, 1, 2]),
        earlyStopping: one([false, true, "never"] as const),
      };
    }
    const stop = chance(0.25) ? { stop: someOf(stopStrings, 1 + below(3), below) } : {};
    if (strategy < 0.65) return { ...base, ...stop };
    const sampling = {
      seed: below(1_000),
      temperature: one([0.5, 0.8, 1, 1.3]),
      ...(chance(0.4) ? { topK: one([1, 5, 40]) } : {}),
      ...(chance(0.4) ? { topP: one([0.5, 0.9, 0.95]) } : {}),
    };
    return { ...base, ...stop, sampling, numReturnSequences: 1 + below(4) };
  }
}

/** Some of the sets are empty or text only, as OpenFlamingo's "zero-shot" is. */
function exampleSet(seed: number, set: number, media: readonly Media[]): Passage[] {
  const next = randomNumbers(`fuzz/${seed}/examples/${set}`);
  const below = (count: number): number => Math.floor(next() * count);
  return Array.from({ length: set === 0 ? 0 : 1 + below(4) }, () => {
    const text = `Output:${answers[below(answers.length)] ?? ""}<|endofchunk|>`;
    const image = media[below(media.length)];
    return image === undefined || next() < 0.2 ? { text, media: [] } : { text: `<image>${text}`, media: [image] };
  });
}

function someOf(items: readonly string[], count: number, below: (count: number) => number): string[] {
  const left = [...items];
  return Array.from({ length: count }, () => left.splice(below(left.length), 1)).flat();
}
