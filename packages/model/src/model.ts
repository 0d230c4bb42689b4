/**
 * What an open model is: the interface that the rest of the system codes against. Owns names, defaults and errors; refuses any way of doing it (open-model.ts).
 */
import type { ModelDescription } from "./description.ts";
import type { DeviceChoice } from "./device/choose-device.ts";
import type { DeviceClaims } from "./device/device-claim.ts";
import type { SamplingFilters } from "./sampling.ts";

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
  /** Until so many tokens are made the end-of-chunk token can't be chosen; stop strings end a text all the same. Default 0. */
  readonly minNewTokens?: number;
  /** Default 1: greedy, or sampled. More: beam search as Hugging Face's (transformers 4.28–4.33). */
  readonly numBeams?: number;
  /** Beams only: a hypothesis scores sum / length^lengthPenalty, its length being the prompt's and its own tokens. Default 0. */
  readonly lengthPenalty?: number;
  /** Beams only. true: done when numBeams have ended; false (default): when no running beam scores better at its present length; "never": at any length. */
  readonly earlyStopping?: boolean | "never";
  /** One beam only: tokens are drawn instead of the likeliest being taken. */
  readonly sampling?: SamplingOptions;
  /** How many texts are answered: of beams the best, at most numBeams; sampled, as many as are drawn; greedy has one. Default 1. */
  readonly numReturnSequences?: number;
  /**
   * One beam only: a text ends as soon as it holds one of these, also where that spans tokens, and is cut before it. With beams they are refused: the original
   * scores whole hypotheses, and a cut one has no score. None may be empty.
   */
  readonly stop?: readonly string[];
  /** Whether each token's log-probability is answered. Default false: they aren't computed. */
  readonly logProbabilities?: boolean;
}

/** Temperature, then top_k, then top_p on what is left, renormalised. */
export interface SamplingOptions extends SamplingFilters {
  /** An integer; with the row's `drawnAs` it settles every draw, whatever else runs. */
  readonly seed: number;
}

export interface RowRequest extends Passage {
  /** Names the row in errors; a row's answer doesn't depend on it, unless it is sampled without `drawnAs`. */
  readonly id: string;
  readonly prefix?: Prefix;
  readonly generation: GenerationOptions;
  /** Sampled only: rows of one seed draw apart by this name. Default: the id. */
  readonly drawnAs?: string;
}

/** One token of a text and how likely it was. */
export interface TokenLogProbability {
  /** The token alone, decoded; special tokens are spelled out, and a part of a character is U+FFFD. */
  readonly text: string;
  /** Natural logarithm under the model's own distribution: before temperature, filters and the ban of an early end. */
  readonly logProbability: number;
}

/** One generated text. */
export interface Sequence {
  /** Special tokens skipped, nothing stripped; without the stop string and what came behind it. */
  readonly text: string;
  /** The new tokens, up to and with the end-of-chunk token or the one that completed a stop string. */
  readonly tokens: readonly number[];
  /** `stop`: the end-of-chunk token or a stop string came; `length`: maxNewTokens did. */
  readonly finish: "stop" | "length";
  /** Beams only. */
  readonly score?: number;
  /** Where asked for, one per token. With beams they sum to the score's numerator. */
  readonly logProbabilities?: readonly TokenLogProbability[];
}

export interface RowResult extends Sequence {
  /** Prefix and row together. */
  readonly promptTokens: number;
  /** Those of promptTokens that a shared prefix had ready. */
  readonly cachedTokens: number;
  /** Where numReturnSequences is more than 1: the next best ones, in order; sampled, the other draws. */
  readonly alternatives?: readonly Sequence[];
}

export interface RankRequest extends Passage {
  readonly id: string;
  readonly prefix?: Prefix;
  /** Texts that could follow the prompt; at least one, none empty. */
  readonly candidates: readonly string[];
}

export interface RankedCandidate {
  readonly tokens: readonly number[];
  /** Of its tokens' log-probabilities after the prompt. */
  readonly sum: number;
  readonly mean: number;
}

export interface RankResult {
  /** In the order given. */
  readonly candidates: readonly RankedCandidate[];
  /** Prefix and row together. */
  readonly promptTokens: number;
  /** Those of promptTokens that a shared prefix had ready. */
  readonly cachedTokens: number;
}

/** What the engine has done since it was opened; all figures only grow but those of bytes held. */
export interface ModelStats {
  readonly rows: { readonly started: number; readonly ended: number; readonly cancelled: number };
  /** Of all answers, a ranking's candidates too. */
  readonly newTokens: number;
  /** Decode runs, and how many had how many rows. */
  readonly steps: number;
  readonly rowsPerStep: Readonly<Record<number, number>>;
  /** Where the time went; `host` is what lies between the runs. */
  readonly seconds: { readonly vision: number; readonly prefill: number; readonly decode: number; readonly host: number };
  readonly media: { readonly encoded: number; readonly hits: number; readonly bytes: number };
  readonly prefixes: { readonly prefilled: number; readonly hits: number; readonly bytes: number };
  /** On a device: tensors that lie in its memory, and bytes that have crossed from and to the host. */
  readonly device?: { readonly tensors: number; readonly bytesToHost: number; readonly bytesToDevice: number };
}

/** Where a model computes. */
export interface ModelDevice {
  readonly kind: "cpu" | "webgpu";
  /** Why `auto` fell back to the CPU; null where nothing was refused. */
  readonly fallback: string | null;
}

export interface Model {
  readonly description: ModelDescription;
  readonly device: ModelDevice;
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
  /** How likely each candidate is to follow; the prompt is read once for all. Rejects as `generate` does. */
  rank(request: RankRequest, signal?: AbortSignal): Promise<RankResult>;
  stats(): ModelStats;
  /** Rows in flight are given up with `aborted`; resolves when the sessions are released. May be called again. */
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Where it computes. Default: the CPU. */
  readonly device?: DeviceChoice;
  /** newDeviceClaims(), the same for all threads of a process that may open models on its device. Default: this thread is the only one. */
  readonly claims?: DeviceClaims;
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
