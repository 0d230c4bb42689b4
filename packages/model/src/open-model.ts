/**
 * Opens a model folder: sessions, tokenizer and loop put together to what model.ts promises. Owns the checks of a request and the assembly;
 * refuses files' forms, tensors' shapes and the order of runs, which belong to folder, graph and generate.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import { chooseDevice } from "./device/choose-device.ts";
import { folderFiles, type ModelDescription } from "./description.ts";
import { readModelFolder } from "./folder.ts";
import { chooseSearch } from "./generate/choose-search.ts";
import type { Row } from "./generate/lane.ts";
import { createLoop } from "./generate/loop.ts";
import { planPrefix, tokenisePassage, type PassageRules, type PrefixPlan, type TokenisedPassage } from "./generate/passage.ts";
import { hostMemory } from "./generate/host-memory.ts";
import type { Memory } from "./generate/memory.ts";
import { createRunner } from "./generate/runner.ts";
import { ranking } from "./generate/ranking.ts";
import type { Answer } from "./generate/search.ts";
import { stopStrings } from "./generate/stop-strings.ts";
import { tensorSizes } from "./generate/tensor-sizes.ts";
import { openOnCpu, openOnWebGpu } from "./device/open-sessions.ts";
import { clocked, type RunClock } from "./run-clock.ts";
import type { Session } from "./session.ts";
import { openTokenizer, type Tokenizer } from "./tokenizer.ts";
import type { Model, ModelDevice, OpenOptions, Passage, Prefix, Sequence } from "./model.ts";
import type { DeviceFigures } from "./device/webgpu-device.ts";

const mebibyte = 2 ** 20;

/** Opens a model folder. Throws CodedError model_folder_invalid, device_unavailable, engine_failed, aborted. */
export async function openModel(folder: string, options: OpenOptions = {}): Promise<Model> {
  const description = await readModelFolder(folder);
  const tokenizer = openTokenizer(await readFile(join(folder, folderFiles.tokenizer), "utf8"));
  const { threads, claims, device: choice = "cpu" } = options;
  const graphs = {
    folder,
    description,
    ...(threads === undefined ? {} : { threads }),
    ...(claims === undefined ? {} : { claims }),
  };
  const { opened, device } = await chooseDevice(choice, {
    cpu: () => openOnCpu(graphs),
    webgpu: (demands) => openOnWebGpu(graphs, demands),
  });
  const model = assembleModel({ description, tokenizer, ...opened, device }, options);
  if (options.signal?.aborted === true) {
    await model.close();
    throw new CodedError("aborted", `opening ${folder} was given up`, { cause: options.signal.reason });
  }
  return model;
}

/** The parts of a model, open. */
export interface ModelParts {
  readonly description: ModelDescription;
  readonly tokenizer: Tokenizer;
  readonly vision: Session;
  readonly decoder: Session;
  /** Where K and V lie between the sessions' runs. Default: on the host. */
  readonly memory?: Memory;
  /** Counts the memory's own runs, and from here on those of both sessions. Default: the memory has none. */
  readonly clock?: RunClock;
  /** Default: the CPU, as asked for. */
  readonly device?: ModelDevice;
  readonly figures?: (() => DeviceFigures) | null;
}

/** A model of parts that are open already; `close` releases the sessions. */
export function assembleModel(parts: ModelParts, options: OpenOptions = {}): Model {
  const { description, tokenizer, vision, decoder, device = { kind: "cpu", fallback: null }, figures = null, clock = { runMs: 0 } } = parts;
  const sizes = tensorSizes(description.architecture);
  const memory = parts.memory ?? hostMemory(sizes);
  const runner = createRunner(
    { vision: clocked(vision, clock), decoder: clocked(decoder, clock) },
    memory,
    sizes,
    description.preprocessing.imageSize,
  );
  const maxCacheBytes = options.maxCacheBytes ?? 512 * mebibyte;
  const loop = createLoop({
    runner,
    memory,
    sizes,
    budget: { rows: options.maxRows ?? 48, entries: Math.floor((options.maxRowBytes ?? 2048 * mebibyte) / sizes.tokenBytes) },
    maxMediaBytes: maxCacheBytes,
    maxPrefixBytes: maxCacheBytes,
    runMs: () => clock.runMs,
  });
  const rules: PassageRules = {
    encode: (text) => tokenizer.encode(text),
    imageToken: description.specialTokens.image,
    pixelCount: 3 * description.preprocessing.imageSize ** 2,
    maxFrames: description.limits.maxFrames,
  };
  const plans = new WeakMap<Prefix, PrefixPlan>();
  const planOf = (prefix: Prefix | undefined): PrefixPlan | null => {
    if (prefix === undefined) return null;
    const plan = plans.get(prefix);
    if (plan === undefined) throw new CodedError("invalid_request", "the prefix was opened by another model", { param: "prefix" });
    return plan;
  };
  const submit = (
    { newEntries, ...row }: Pick<Row, "id" | "prefix" | "passage" | "search"> & { readonly newEntries: number },
    signal: AbortSignal | undefined,
  ): Promise<readonly Answer[]> =>
    new Promise((resolve, reject) => {
      loop.submit({
        ...row,
        lane: `${row.prefix?.key ?? ""}/${row.search.beams}`,
        entries: row.passage.tokens.length + newEntries,
        encoded: row.passage.media.map(() => null),
        signal,
        resolve,
        reject,
      });
    });
  let closing: Promise<void> | null = null;
  const release = async (): Promise<void> => {
    await loop.close();
    await Promise.all([vision.release(), decoder.release(), memory.release()]);
  };

  return {
    description,
    device,
    openPrefix: (examples) => {
      const plan = planPrefix(examples, rules);
      checkLength(plan.tokens.length, 0, description);
      const prefix = { id: plan.key, tokens: plan.tokens.length };
      plans.set(prefix, plan);
      return prefix;
    },
    generate: async (request, signal) => {
      const prompt = planPrompt(request, planOf(request.prefix), rules);
      const { maxNewTokens, stop = [] } = request.generation;
      checkLength(prompt.tokens, maxNewTokens, description);
      const stops = stopStrings(stop, (tokens) => tokenizer.decode(tokens));
      const search = chooseSearch(
        request.generation,
        { promptTokens: prompt.tokens, drawnAs: request.drawnAs ?? request.id, isStopped: stops?.isStopped ?? null },
        description,
      );
      const answers = await submit({ id: request.id, ...prompt, search, newEntries: maxNewTokens * search.beams }, signal);
      const [best, ...others] = answers.map((answer) => asSequence(answer, tokenizer, stops?.textOf));
      if (best === undefined) throw new CodedError("engine_failed", `row ${request.id} ended without an answer`);
      const cachedTokens = prompt.prefix?.tokens.length ?? 0;
      return { ...best, promptTokens: prompt.tokens, cachedTokens, ...(others.length === 0 ? {} : { alternatives: others }) };
    },
    rank: async (request, signal) => {
      const prompt = planPrompt(request, planOf(request.prefix), rules);
      const candidates = request.candidates.map((candidate) => rules.encode(candidate));
      if (candidates.length === 0 || candidates.some(({ length }) => length === 0)) {
        throw new CodedError("invalid_request", "ranking needs candidates, and none may be empty", { param: "candidates" });
      }
      checkLength(prompt.tokens, Math.max(...candidates.map(({ length }) => length)), description);
      const newEntries = candidates.reduce((sum, { length }) => sum + length, 0);
      const answers = await submit({ id: request.id, ...prompt, search: ranking(candidates, sizes.vocabulary), newEntries }, signal);
      const ranked = answers.map(({ tokens, score }) => ({ tokens, sum: score ?? -Infinity, mean: (score ?? -Infinity) / tokens.length }));
      return { candidates: ranked, promptTokens: prompt.tokens, cachedTokens: prompt.prefix?.tokens.length ?? 0 };
    },
    stats: () => ({ ...loop.stats(), ...(figures === null ? {} : { device: figures() }) }),
    close: () => (closing ??= release()),
  };
}

function asSequence(
  { tokens, score, logProbabilities, finish }: Answer,
  tokenizer: Tokenizer,
  textOf: (tokens: readonly number[]) => string = (ids) => tokenizer.decode(ids),
): Sequence {
  const textOfToken = (index: number): string => tokenizer.decode(tokens.slice(index, index + 1), { keepSpecialTokens: true });
  return {
    text: textOf(tokens),
    tokens,
    finish,
    ...(score === null ? {} : { score }),
    ...(logProbabilities === null
      ? {}
      : { logProbabilities: logProbabilities.map((logProbability, index) => ({ text: textOfToken(index), logProbability })) }),
  };
}

interface Prompt {
  readonly prefix: PrefixPlan | null;
  readonly passage: TokenisedPassage;
  /** Prefix and passage together. */
  readonly tokens: number;
}

function planPrompt(request: Passage, plan: PrefixPlan | null, rules: PassageRules): Prompt {
  const passage = tokenisePassage({ text: (plan?.tail ?? "") + request.text, media: request.media }, rules);
  if (passage.tokens.length === 0) throw new CodedError("invalid_request", "the row has no text", { param: "text" });
  const prefix = plan === null || plan.tokens.length === 0 ? null : plan;
  return { prefix, passage, tokens: (prefix?.tokens.length ?? 0) + passage.tokens.length };
}

function checkLength(promptTokens: number, newTokens: number, { limits }: ModelDescription): void {
  if (promptTokens > limits.maxPromptTokens) {
    throw new CodedError("prompt_too_long", `the prompt has ${promptTokens} tokens where ${limits.maxPromptTokens} are taken`);
  }
  if (promptTokens + newTokens > limits.maxPositions) {
    throw new CodedError(
      "prompt_too_long",
      `the prompt's ${promptTokens} tokens and ${newTokens} new ones exceed the model's ${limits.maxPositions} positions`,
    );
  }
}
