/**
 * A model that is open: text and pixels in, text out. Owns the interface that the rest of the system codes against and the assembly of its parts;
 * refuses files' forms, tensors' shapes and the order of runs, which belong to folder, graph and generate.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import { folderFiles, type ModelDescription } from "./description.ts";
import { readModelFolder } from "./folder.ts";
import type { Row } from "./generate/lane.ts";
import { createLoop } from "./generate/loop.ts";
import { planPrefix, tokenisePassage, type PassageRules, type PrefixPlan } from "./generate/passage.ts";
import { createRunner } from "./generate/runner.ts";
import { greedySearch, type SearchEnd } from "./generate/search.ts";
import { tensorSizes } from "./generate/tensor-sizes.ts";
import { openSession, type Session } from "./session.ts";
import { openTokenizer, type Tokenizer } from "./tokenizer.ts";

/** One media of a row: its frames as normalised pixels (3, size, size), in order; a single frame for an image. */
export type Media = readonly Float32Array[];

/** Some text and the media that its `<image>` tokens stand for, in order. */
export interface Passage {
  readonly text: string;
  readonly media: readonly Media[];
}

/** A few-shot prefix that rows share. Belongs to the model that opened it. */
export interface Prefix {
  readonly id: string;
  readonly tokens: number;
}

export interface GenerationOptions {
  readonly maxNewTokens: number;
  /** Until so many tokens are made the end-of-chunk token can't be chosen. Default 0. */
  readonly minNewTokens?: number;
  /** Default 1: greedy. More is refused with invalid_request for now. */
  readonly numBeams?: number;
}

export interface RowRequest extends Passage {
  /** Names the row in errors; a row's answer doesn't depend on it. */
  readonly id: string;
  readonly prefix?: Prefix;
  readonly generation: GenerationOptions;
}

export interface RowResult {
  /** Special tokens skipped, nothing stripped. */
  readonly text: string;
  /** The new tokens, up to and with the end-of-chunk token. */
  readonly tokens: readonly number[];
  /** Prefix and row together. */
  readonly promptTokens: number;
  /** Those of promptTokens that a shared prefix had ready. */
  readonly cachedTokens: number;
  /** `stop`: the end-of-chunk token came; `length`: maxNewTokens did. */
  readonly finish: "stop" | "length";
}

/** What the engine has done since it was opened; all figures only grow but those of bytes held. */
export interface ModelStats {
  readonly rows: { readonly started: number; readonly ended: number; readonly cancelled: number };
  readonly newTokens: number;
  /** Decode runs, and how many had how many rows. */
  readonly steps: number;
  readonly rowsPerStep: Readonly<Record<number, number>>;
  /** Where the time went; `host` is what lies between the runs. */
  readonly seconds: { readonly vision: number; readonly prefill: number; readonly decode: number; readonly host: number };
  readonly media: { readonly encoded: number; readonly hits: number; readonly bytes: number };
  readonly prefixes: { readonly prefilled: number; readonly hits: number; readonly bytes: number };
}

export interface Model {
  readonly description: ModelDescription;
  /**
   * Registers the few-shot prefix that many rows share (everything before the query's `<image>`). It is prefilled once, on first use;
   * opening an equal one again costs nothing. Throws CodedError prompt_too_long, invalid_request (media and `<image>` don't match).
   */
  openPrefix(examples: readonly Passage[]): Prefix;
  /**
   * The row joins the running loop; resolves when it has ended. Rows in flight share steps; a row's tokens don't depend on its company.
   * Rejects with CodedError prompt_too_long, invalid_request, aborted (the signal), engine_failed.
   */
  generate(row: RowRequest, signal?: AbortSignal): Promise<RowResult>;
  stats(): ModelStats;
  /** Rows in flight are given up with `aborted`; resolves when the sessions are released. May be called again. */
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Threads of one run. Default: all cores. */
  readonly threads?: number;
  /** Rows in flight at most. Default 48. */
  readonly maxRows?: number;
  /** Memory for the rows' own K and V at most, about. Default 2 GiB. */
  readonly maxRowBytes?: number;
  /** Memory for encoded media, and for computed prefixes, that wait for their next use. Default 512 MiB each. */
  readonly maxCacheBytes?: number;
  readonly signal?: AbortSignal;
}

const mebibyte = 2 ** 20;

/** Opens a model folder. Throws CodedError model_folder_invalid, engine_failed, aborted. */
export async function openModel(folder: string, options: OpenOptions = {}): Promise<Model> {
  const description = await readModelFolder(folder);
  const tokenizer = openTokenizer(await readFile(join(folder, folderFiles.tokenizer), "utf8"));
  const vision = await openSession(join(folder, folderFiles.visionGraph), options);
  const decoder = await openSession(join(folder, folderFiles.decoderGraph), options).catch(async (error: unknown) => {
    await vision.release();
    throw error;
  });
  const model = assembleModel({ description, tokenizer, vision, decoder }, options);
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
}

/** A model of parts that are open already; `close` releases the sessions. */
export function assembleModel({ description, tokenizer, vision, decoder }: ModelParts, options: OpenOptions = {}): Model {
  const sizes = tensorSizes(description.architecture);
  const clock = { runMs: 0 };
  const runner = createRunner(
    { vision: clocked(vision, clock), decoder: clocked(decoder, clock) },
    sizes,
    description.preprocessing.imageSize,
  );
  const maxCacheBytes = options.maxCacheBytes ?? 512 * mebibyte;
  const loop = createLoop({
    runner,
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
  let closing: Promise<void> | null = null;
  const release = async (): Promise<void> => {
    await loop.close();
    await Promise.all([vision.release(), decoder.release()]);
  };

  return {
    description,
    openPrefix: (examples) => {
      const plan = planPrefix(examples, rules);
      checkLength(plan.tokens.length, 0, description);
      const prefix = { id: plan.key, tokens: plan.tokens.length };
      plans.set(prefix, plan);
      return prefix;
    },
    generate: async (request, signal) => {
      const plan = request.prefix === undefined ? null : plans.get(request.prefix);
      if (plan === undefined) throw new CodedError("invalid_request", "the prefix was opened by another model", { param: "prefix" });
      const row = planRow(request, plan, rules, description);
      const end = await new Promise<SearchEnd>((resolve, reject) => loop.submit({ ...row, signal, resolve, reject }));
      const prefixTokens = row.prefix?.tokens.length ?? 0;
      return {
        text: tokenizer.decode(end.tokens),
        tokens: end.tokens,
        promptTokens: prefixTokens + row.passage.tokens.length,
        cachedTokens: prefixTokens,
        finish: end.finish,
      };
    },
    stats: () => loop.stats(),
    close: () => (closing ??= release()),
  };
}

function planRow(
  request: RowRequest,
  plan: PrefixPlan | null,
  rules: PassageRules,
  description: ModelDescription,
): Omit<Row, "signal" | "resolve" | "reject"> {
  const { maxNewTokens, minNewTokens = 0, numBeams = 1 } = request.generation;
  if (numBeams !== 1)
    throw new CodedError("invalid_request", "only greedy generation is served: numBeams must be 1", { param: "num_beams" });
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) {
    throw new CodedError("invalid_request", "maxNewTokens must be a positive integer", { param: "max_tokens" });
  }
  const passage = tokenisePassage({ text: (plan?.tail ?? "") + request.text, media: request.media }, rules);
  if (passage.tokens.length === 0) throw new CodedError("invalid_request", "the row has no text", { param: "text" });
  const prefix = plan === null || plan.tokens.length === 0 ? null : plan;
  checkLength((prefix?.tokens.length ?? 0) + passage.tokens.length, maxNewTokens, description);
  const search = greedySearch({ maxNewTokens, minNewTokens, endToken: description.specialTokens.endOfChunk });
  return {
    id: request.id,
    lane: `${prefix?.key ?? ""}/${search.beams}`,
    prefix,
    passage,
    search,
    entries: passage.tokens.length + maxNewTokens * search.beams,
    encoded: passage.media.map(() => null),
  };
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

function clocked(session: Session, clock: { runMs: number }): Session {
  return {
    ...session,
    run: async (inputs, outputs) => {
      const started = performance.now();
      try {
        return await session.run(inputs, outputs);
      } finally {
        clock.runMs += performance.now() - started;
      }
    },
  };
}
