/** What a family of decoders must answer, and the small steps that families share. Owns biases: a family says whether they belong, and then every one must be there. */
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";
import type { Architecture } from "../architecture.ts";
import type { Ledger } from "./ledger.ts";
import type { TensorSource } from "./tensor-source.ts";

/** All but the vocabulary, which the checkpoint's embeddings give. */
export type DecoderSizes = Omit<Architecture["decoder"], "vocabularySize">;

/** Where a family keeps what Flamingo touches; a checkpoint uses the same names under `lang_encoder.`. */
export interface LanguageModelNames {
  readonly layers: string;
  readonly inputEmbedding: string;
  readonly outputHead: string;
  /** Buffers within a layer that nothing needs. */
  readonly buffers: RegExp;
}

/** One family of decoders: how its config.json and its tensors are read. */
export interface LanguageModelFamily {
  readonly modelTypes: readonly string[];
  readonly names: LanguageModelNames;
  /** Takes all but the embeddings from the ledger. */
  read(
    path: string,
    config: unknown,
    ledger: Ledger,
  ): { decoder: DecoderSizes; paddedVocabularySize: number; tensors: Map<string, TensorSource> };
}

/** A LayerNorm's weight, and its bias where the family has them. */
export function takeAffine(
  ledger: Ledger,
  tensors: Map<string, TensorSource>,
  from: string,
  to: string,
  width: number,
  biased: boolean,
): void {
  tensors.set(`${to}.weight`, ledger.take(`${from}.weight`, [width]));
  if (biased) tensors.set(`${to}.bias`, ledger.take(`${from}.bias`, [width]));
}

/** A linear layer's weight (out, in), and its bias where the family has them. */
export function takeLinear(
  ledger: Ledger,
  tensors: Map<string, TensorSource>,
  from: string,
  to: string,
  shape: readonly [number, number],
  biased: boolean,
): void {
  tensors.set(`${to}.weight`, ledger.take(`${from}.weight`, shape));
  if (biased) tensors.set(`${to}.bias`, ledger.take(`${from}.bias`, [shape[0]]));
}

/** A language model's config.json; what the schema refuses is `model_piece_unsupported`, and says where. */
export function parseConfig<T>(path: string, schema: z.ZodType<T>, json: unknown): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  throw new CodedError("model_piece_unsupported", `${path}: ${z.prettifyError(result.error)}`, {
    param: result.error.issues[0]?.path.join(".") ?? "",
  });
}
