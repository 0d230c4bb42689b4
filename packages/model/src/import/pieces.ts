/** Reads a Flamingo model's pieces, whatever their form, and answers one canonical model. Owns the order of things; refuses any knowledge of a form. */
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";
import { architectureSchema, type Architecture } from "../architecture.ts";
import { readCheckpoint, type CheckpointPiece } from "./checkpoint.ts";
import { checkExpected, readExpected } from "./expectation.ts";
import { readLanguageModel, type LanguageModelPiece } from "./language-model.ts";
import type { Preset } from "./presets.ts";
import type { TensorSource } from "./tensor-source.ts";
import { readTokenizer, type SpecialTokens, type TokenizerPiece } from "./tokenizer-file.ts";
import { readVision, type VisionPiece } from "./vision.ts";

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
 * model_piece_corrupt, pickle_refused, and tensor_missing, tensor_surplus, tensor_misshapen with the tensor's name as `param`; with a preset also preset_mismatch
 * where a piece isn't the one that the preset names.
 */
export async function readPieces(pieces: Pieces, preset?: Preset): Promise<ImportedModel> {
  const visionPiece = await readExpected(preset, "vision", () => readVision(pieces.vision, pieces.visionConfig));
  if (preset !== undefined) checkVision(preset, visionPiece);
  const languageModel = await readExpected(preset, "languageModel", () => readLanguageModel(pieces.languageModel));
  const tokenizer = await readTokenizer(pieces.languageModel);
  if (preset !== undefined) checkLanguageModel(preset, languageModel, tokenizer);
  const checkpoint = await readExpected(preset, "checkpoint", () =>
    readCheckpoint(pieces.checkpoint, {
      visionWidth: visionPiece.vision.width,
      languageModel,
      crossAttentionEvery: pieces.crossAttentionEvery ?? preset?.architecture.crossAttention.every,
    }),
  );
  if (preset !== undefined) checkCheckpoint(preset, checkpoint);
  if (checkpoint.vocabularySize !== tokenizer.size)
    throw new CodedError(
      "tensor_misshapen",
      `${pieces.checkpoint}: its embeddings have ${checkpoint.vocabularySize} rows, but the tokenizer of ${pieces.languageModel} with the added tokens has ${tokenizer.size}`,
      { param: `lang_encoder.${languageModel.names.inputEmbedding}` },
    );
  const architecture = architectureSchema.safeParse({
    vision: visionPiece.vision,
    resampler: checkpoint.resampler,
    crossAttention: checkpoint.crossAttention,
    decoder: { ...languageModel.decoder, vocabularySize: checkpoint.vocabularySize },
  });
  if (!architecture.success)
    throw new CodedError("model_piece_unsupported", `the pieces don't make a Flamingo: ${z.prettifyError(architecture.error)}`);
  return {
    architecture: architecture.data,
    tensors: new Map([...visionPiece.tensors, ...checkpoint.tensors, ...languageModel.tensors]),
    tokenizerJson: tokenizer.json,
    specialTokens: tokenizer.specialTokens,
    notes: [...visionPiece.notes, ...languageModel.notes, ...checkpoint.notes],
  };
}

function checkVision(preset: Preset, { vision }: VisionPiece): void {
  checkExpected(preset, "vision", "vision", { found: vision, expected: preset.architecture.vision });
}

function checkLanguageModel(preset: Preset, { decoder, names }: LanguageModelPiece, { size, specialTokens }: TokenizerPiece): void {
  const { vocabularySize, ...expected } = preset.architecture.decoder;
  checkExpected(preset, "languageModel", "names.layers", { found: names.layers, expected: preset.names.layers });
  checkExpected(preset, "languageModel", "decoder", { found: decoder, expected });
  checkExpected(preset, "languageModel", "tokenizer", {
    found: { size, specialTokens },
    expected: { size: vocabularySize, specialTokens: preset.tokenizer.specialTokens },
  });
}

function checkCheckpoint(preset: Preset, { resampler, crossAttention, vocabularySize }: CheckpointPiece): void {
  const { architecture } = preset;
  const expected = { resampler: architecture.resampler, crossAttention: architecture.crossAttention };
  checkExpected(preset, "checkpoint", "checkpoint", {
    found: { resampler, crossAttention, vocabularySize },
    expected: { ...expected, vocabularySize: architecture.decoder.vocabularySize },
  });
}
