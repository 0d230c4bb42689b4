/** Reads a Flamingo model's pieces, whatever their form, and answers one canonical model. Owns the order of things; refuses any knowledge of a form. */
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";
import { architectureSchema, type Architecture } from "../architecture.ts";
import { readCheckpoint } from "./checkpoint.ts";
import { readLanguageModel } from "./language-model.ts";
import type { TensorSource } from "./tensor-source.ts";
import { readTokenizer, type SpecialTokens } from "./tokenizer-file.ts";
import { readVision } from "./vision.ts";

export interface Pieces {
  /** The CLIP weights: a file. */
  readonly vision: string;
  /** A path of open_clip_config.json or transformers' config.json, or such a file's JSON; the one beside the vision file where it isn't given. */
  readonly visionConfig?: unknown;
  /** A Hugging Face folder: config.json, tokenizer.json, weights. */
  readonly languageModel: string;
  /** OpenFlamingo's checkpoint.pt. */
  readonly checkpoint: string;
  /** Every n-th layer cross-attends; the checkpoint says it too, and must agree. */
  readonly crossAttentionEvery?: number;
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

/**
 * Looks at every piece and accounts for every tensor; weights are read later, one at a time. Throws CodedError: model_piece_missing, model_piece_unsupported,
 * model_piece_corrupt, pickle_refused, and tensor_missing, tensor_surplus, tensor_misshapen with the tensor's name as `param`.
 */
export async function readPieces(pieces: Pieces): Promise<ImportedModel> {
  const { vision, tensors: visionTensors, notes: visionNotes } = await readVision(pieces.vision, pieces.visionConfig);
  const languageModel = await readLanguageModel(pieces.languageModel);
  const tokenizer = await readTokenizer(pieces.languageModel);
  const checkpoint = await readCheckpoint(pieces.checkpoint, {
    visionWidth: vision.width,
    languageModel,
    crossAttentionEvery: pieces.crossAttentionEvery,
  });
  if (checkpoint.vocabularySize !== tokenizer.size)
    throw new CodedError(
      "tensor_misshapen",
      `${pieces.checkpoint}: its embeddings have ${checkpoint.vocabularySize} rows, but the tokenizer of ${pieces.languageModel} with the added tokens has ${tokenizer.size}`,
      { param: `lang_encoder.${languageModel.names.inputEmbedding}` },
    );
  const architecture = architectureSchema.safeParse({
    vision,
    resampler: checkpoint.resampler,
    crossAttention: checkpoint.crossAttention,
    decoder: { ...languageModel.decoder, vocabularySize: checkpoint.vocabularySize },
  });
  if (!architecture.success)
    throw new CodedError("model_piece_unsupported", `the pieces don't make a Flamingo: ${z.prettifyError(architecture.error)}`);
  return {
    architecture: architecture.data,
    tensors: new Map([...visionTensors, ...checkpoint.tensors, ...languageModel.tensors]),
    tokenizerJson: tokenizer.json,
    specialTokens: tokenizer.specialTokens,
    notes: [...visionNotes, ...languageModel.notes, ...checkpoint.notes],
  };
}
