/**
 * A model that is open: text and pixels in, text out. Owns the interface that the rest of the system codes against and the assembly of its parts;
 * refuses files' forms, tensors' shapes and the order of runs, which belong to folder, graph and generate.
 */
import type { ModelDescription } from "./description.ts";

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
  /** Rows in flight are given up with `aborted`; resolves when the sessions are released. */
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Threads of one run. Default: all cores. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
}
