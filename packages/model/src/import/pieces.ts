/** Reads a Flamingo model's pieces, whatever their form, and answers one canonical model. Owns the order of things; refuses any knowledge of a form. */
import type { Architecture } from "../architecture.ts";
import type { TensorSource } from "./tensor-source.ts";

export interface Pieces {
  /** The CLIP weights: a file. */
  readonly vision: string;
  /** open_clip_config.json or transformers' config.json; looked for beside the vision file where it isn't given. */
  readonly visionConfig?: string;
  /** A Hugging Face folder: config.json, tokenizer.json, weights. */
  readonly languageModel: string;
  /** OpenFlamingo's checkpoint.pt. */
  readonly checkpoint: string;
  /** Checked against the checkpoint, which says it too. */
  readonly crossAttentionEvery?: number;
}

export interface SpecialTokens {
  /** The id of `<|endofchunk|>`: ends an example's text; has nothing to do with the service's chunks of items. */
  readonly endOfChunk: number;
  readonly image: number;
  readonly pad: number;
  readonly endOfText: number | null;
}

export interface ImportedModel {
  readonly architecture: Architecture;
  /** By canonical name; every one that the architecture needs is present, with its shape checked. */
  readonly tensors: ReadonlyMap<string, TensorSource>;
  /** With the added tokens: ready to be written as tokenizer.json. */
  readonly tokenizerJson: string;
  readonly specialTokens: SpecialTokens;
  /** What was left out knowingly, for people. */
  readonly notes: readonly string[];
}

export async function readPieces(pieces: Pieces): Promise<ImportedModel> {
  throw new Error(`not written yet: ${pieces.vision}`);
}
