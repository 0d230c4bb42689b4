/**
 * The law of company, on random rows: a row's answer is the same alone and among rows that come, go and are given up at any step. Owns both runs and what is held
 * against the engine; what may occur is cases.ts's, how near a decision was margins.ts's.
 */
import { setImmediate } from "node:timers/promises";
import { isCoded } from "@flamboyance/contracts";
import { chooseSearch } from "../generate/choose-search.ts";
import { seededDraw } from "../generate/draw.ts";
import { stopStrings } from "../generate/stop-strings.ts";
import type { Media, Model, Prefix, RankResult, RowResult } from "../model.ts";
import { assembleModel, type ModelParts } from "../open-model.ts";
import { randomNumbers } from "../random-model.ts";
import type { KeptTensor, Session } from "../session.ts";
import { randomCase, type FuzzCase } from "./cases.ts";
import { replay } from "./margins.ts";

/**
 * Decisions with a smaller margin (of logits, of log-probability sums, of scores, of a draw in probability) may fall otherwise in company. Ten times and more what the
 * log-probabilities of one row alone and in company were seen to lie apart.
 */
export const decidingMargin = 2e-5;

/** Log-probabilities of equal tokens, alone and in company; parity's limit. */
const logProbabilityLimit = 1e-4;

export interface Finding {
  readonly id: string;
  readonly margin: number;
  readonly alone: string;
  readonly inCompany: string;
}

export interface FuzzReport {
  readonly cases: number;
  readonly kinds: Readonly<Record<"greedy" | "beams" | "sampled" | "ranked", number>>;
  readonly givenUp: number;
  /** Cases whose margin is below the deciding one, whether they differ or not. */
  readonly close: number;
  readonly smallestMargin: number;
  /** The largest difference of a log-probability among equal tokens. */
  readonly largestDrift: number;
  /** Cases that differ with a margin below the deciding one: counted and told. */
  readonly closeDifferences: readonly Finding[];
  /** All others that differ: faults of the engine. */
  readonly faults: readonly Finding[];
}

export interface FuzzTask {
  /** Open; `decoder` is listened to while rows run alone. Whoever opened them releases them. */
  readonly parts: ModelParts;
  readonly media: readonly Media[];
  readonly seed: number;
  readonly from: number;
  readonly count: number;
}

/** Runs cases `from` up to `from + count` of a seed, all in one company. */
export async function fuzz({ parts, media, seed, from, count }: FuzzTask): Promise<FuzzReport> {
  const cases = Array.from({ length: count }, (_, index) => randomCase(seed, from + index, media));
  const alone = await runAlone(parts, cases);
  // From tight to roomy: rows then wait, or all run at once.
  const maxRows = [4, 9, 16, 48][Math.floor(randomNumbers(`fuzz/${seed}/rows/${from}`)() * 4)] ?? 48;
  const model = assembleModel(unreleased(parts), { maxRows });
  try {
    return judge(cases, alone, await runTogether(model, cases));
  } finally {
    await model.close();
  }
}

export function addReports(a: FuzzReport, b: FuzzReport): FuzzReport {
  return {
    cases: a.cases + b.cases,
    kinds: {
      greedy: a.kinds.greedy + b.kinds.greedy,
      beams: a.kinds.beams + b.kinds.beams,
      sampled: a.kinds.sampled + b.kinds.sampled,
      ranked: a.kinds.ranked + b.kinds.ranked,
    },
    givenUp: a.givenUp + b.givenUp,
    close: a.close + b.close,
    smallestMargin: Math.min(a.smallestMargin, b.smallestMargin),
    largestDrift: Math.max(a.largestDrift, b.largestDrift),
    closeDifferences: [...a.closeDifferences, ...b.closeDifferences],
    faults: [...a.faults, ...b.faults],
  };
}

interface Answered {
  /** What must be equal. */
  readonly answer: string;
  readonly logProbabilities: readonly number[];
}

async function runAlone(parts: ModelParts, cases: readonly FuzzCase[]): Promise<(Answered & { readonly margin: number })[]> {
  const steps: Float32Array[] = [];
  const model = assembleModel({ ...unreleased(parts), decoder: heard(parts.decoder, steps) }, { maxRows: 1 });
  const found: (Answered & { readonly margin: number })[] = [];
  try {
    for (const each of cases) {
      steps.length = 0;
      const result = await ask(model, each, null);
      found.push({ ...asAnswered(result), margin: marginOf(each, result, steps, parts) });
    }
  } finally {
    await model.close();
  }
  return found;
}

/** The whole prompt is one piece and there is no prefix, so every run of the decoder is a step of the search. */
function marginOf(
  each: FuzzCase,
  result: RowResult | RankResult,
  steps: readonly Float32Array[],
  { description, tokenizer }: ModelParts,
): number {
  if ("candidates" in result) {
    const sums = result.candidates.map(({ sum }) => sum).toSorted((a, b) => a - b);
    return sums.reduce((least, sum, rank) => (rank === 0 ? least : Math.min(least, sum - (sums[rank - 1] ?? sum))), Infinity);
  }
  if (each.work.kind !== "generate") return Infinity;
  const { generation } = each.work;
  const { promptTokens } = result;
  const isStopped = stopStrings(generation.stop ?? [], (tokens) => tokenizer.decode(tokens))?.isStopped ?? null;
  const search = chooseSearch(generation, { promptTokens, drawnAs: each.id, isStopped }, description);
  const watched = {
    generation,
    promptTokens,
    endToken: description.specialTokens.endOfChunk,
    vocabulary: description.architecture.decoder.vocabularySize,
    draw: seededDraw(generation.sampling?.seed ?? 0, each.id),
  };
  return replay(search, watched, steps).margin;
}

/** Comes and goings in the order of their steps; where nothing runs, the next is let in at once. Null: given up. */
async function runTogether(model: Model, cases: readonly FuzzCase[]): Promise<(Answered | null)[]> {
  const answers: Promise<Answered | null>[] = [];
  const running = new Set<FuzzCase>();
  const join = (each: FuzzCase, index: number, signal: AbortSignal): void => {
    running.add(each);
    answers[index] = ask(model, each, each.sharesPrefix ? model.openPrefix(each.examples) : null, signal)
      .then(asAnswered, (error: unknown) => {
        if (each.givenUpAfter !== null && isCoded(error, "aborted")) return null;
        throw error;
      })
      .finally(() => running.delete(each));
    // Looked at below, all together.
    answers[index].catch(() => {});
  };
  const events = cases.flatMap((each, index) => {
    const controller = new AbortController();
    const joining = { at: each.joinsAt, act: () => join(each, index, controller.signal) };
    return each.givenUpAfter === null
      ? [joining]
      : [joining, { at: each.joinsAt + each.givenUpAfter, act: () => controller.abort(new Error("no longer wanted")) }];
  });
  for (const { at, act } of events.toSorted((a, b) => a.at - b.at)) {
    while (running.size > 0 && model.stats().steps < at) await setImmediate();
    act();
  }
  return Promise.all(answers);
}

function ask(model: Model, each: FuzzCase, prefix: Prefix | null, signal?: AbortSignal): Promise<RowResult | RankResult> {
  const spelled = prefix === null ? each.examples : [];
  const passages = [...spelled, each.query];
  const row = {
    id: each.id,
    text: passages.map(({ text }) => text).join(""),
    media: passages.flatMap(({ media }) => media),
    ...(prefix === null ? {} : { prefix }),
  };
  const { work } = each;
  return work.kind === "rank"
    ? model.rank({ ...row, candidates: work.candidates }, signal)
    : model.generate({ ...row, generation: work.generation }, signal);
}

function asAnswered(result: RowResult | RankResult): Answered {
  if ("candidates" in result) {
    const order = [...result.candidates.keys()].toSorted((a, b) => (result.candidates[b]?.sum ?? 0) - (result.candidates[a]?.sum ?? 0));
    return { answer: JSON.stringify([result.promptTokens, order]), logProbabilities: result.candidates.map(({ sum }) => sum) };
  }
  const sequences = [result, ...(result.alternatives ?? [])];
  return {
    answer: JSON.stringify([result.promptTokens, sequences.map(({ tokens, text, finish }) => [tokens, text, finish])]),
    logProbabilities: sequences.flatMap((each) => (each.logProbabilities ?? []).map(({ logProbability }) => logProbability)),
  };
}

function judge(
  cases: readonly FuzzCase[],
  alone: readonly (Answered & { margin: number })[],
  company: readonly (Answered | null)[],
): FuzzReport {
  const kinds = { greedy: 0, beams: 0, sampled: 0, ranked: 0 };
  const closeDifferences: Finding[] = [];
  const faults: Finding[] = [];
  let givenUp = 0;
  let close = 0;
  let largestDrift = 0;
  for (const [index, each] of cases.entries()) {
    kinds[kindOf(each)] += 1;
    const expected = alone[index];
    const found = company[index];
    if (expected === undefined || found === undefined) throw new Error(`${each.id} has no answer`);
    const { margin } = expected;
    if (margin < decidingMargin) close += 1;
    if (found === null) {
      givenUp += 1;
      continue;
    }
    const same = found.answer === expected.answer;
    const drift = same ? driftOf(expected.logProbabilities, found.logProbabilities) : 0;
    largestDrift = Math.max(largestDrift, drift);
    if (same && drift <= logProbabilityLimit) continue;
    const finding = { id: each.id, margin, alone: expected.answer, inCompany: found.answer };
    if (!same && margin < decidingMargin) closeDifferences.push(finding);
    else faults.push(finding);
  }
  const smallestMargin = Math.min(...alone.map(({ margin }) => margin));
  return { cases: cases.length, kinds, givenUp, close, smallestMargin, largestDrift, closeDifferences, faults };
}

function kindOf({ work }: FuzzCase): keyof FuzzReport["kinds"] {
  if (work.kind === "rank") return "ranked";
  if ((work.generation.numBeams ?? 1) > 1) return "beams";
  return work.generation.sampling === undefined ? "greedy" : "sampled";
}

function driftOf(expected: readonly number[], found: readonly number[]): number {
  if (expected.length !== found.length) return Infinity;
  return expected.reduce((most, value, index) => Math.max(most, Math.abs(value - (found[index] ?? NaN)) / Math.max(1, Math.abs(value))), 0);
}

function unreleased(parts: ModelParts): ModelParts {
  const kept = (session: Session): Session => ({ ...session, release: () => Promise.resolve() });
  return { ...parts, vision: kept(parts.vision), decoder: kept(parts.decoder) };
}

function heard(session: Session, steps: Float32Array[]): Session {
  return {
    ...session,
    release: () => Promise.resolve(),
    run: async (inputs, outputs, kept) => {
      const found = await session.run(inputs, outputs, kept);
      const logits = Object.entries<KeptTensor>(found).find(([name]) => name === "logits")?.[1];
      if (logits?.type === "float32") steps.push(Float32Array.from(logits.data));
      return found;
    },
  };
}
