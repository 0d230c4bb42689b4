/**
 * A Hugging Face folder of a language model → the decoder's sizes and canonical tensors. Owns the choice of the family by `model_type`, and one or many files of weights.
 * Refuses the folder's embeddings: their vocabulary is padded, and a Flamingo checkpoint brings its own.
 */
import { join } from "node:path";
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";
import type { DecoderSizes, LanguageModelFamily, LanguageModelNames } from "./decoder-family.ts";
import { openLedger } from "./ledger.ts";
import { mptFamily } from "./mpt.ts";
import { neoxFamily } from "./neox.ts";
import { isThere, readJson } from "./piece-file.ts";
import type { StoredTensor, TensorSource } from "./tensor-source.ts";
import { readWeights } from "./weights-file.ts";

export interface LanguageModelPiece {
  readonly decoder: DecoderSizes;
  readonly names: LanguageModelNames;
  readonly tensors: ReadonlyMap<string, TensorSource>;
  /** As they lie in the folder, for comparison with a checkpoint's copies. */
  readonly stored: ReadonlyMap<string, StoredTensor>;
  readonly notes: readonly string[];
}

const families: readonly LanguageModelFamily[] = [mptFamily, neoxFamily];

export async function readLanguageModel(folder: string): Promise<LanguageModelPiece> {
  const configPath = join(folder, "config.json");
  const config = await readJson(configPath);
  const parsed = z.object({ model_type: z.string() }).safeParse(config);
  const modelType = parsed.data?.model_type;
  const family = families.find((candidate) => modelType !== undefined && candidate.modelTypes.includes(modelType));
  if (family === undefined)
    throw new CodedError(
      "model_piece_unsupported",
      `${configPath}: model_type ${modelType ?? "is missing"}; known are ${families.flatMap((each) => each.modelTypes).join(", ")}`,
      {
        param: "model_type",
      },
    );

  const stored = await readFolder(folder);
  const ledger = openLedger(folder, stored);
  const { names } = family;
  const { decoder, paddedVocabularySize, tensors } = family.read(configPath, config, ledger);
  ledger.take(names.inputEmbedding, [paddedVocabularySize, decoder.width]);
  if (!decoder.tiedHead || ledger.has(names.outputHead)) ledger.take(names.outputHead, [paddedVocabularySize, decoder.width]);
  const leftOut = ledger.leaveOut(names.buffers);
  ledger.close();
  return {
    decoder,
    names,
    tensors,
    stored,
    notes: [
      `language model: left out the embeddings, which the checkpoint replaces`,
      ...(leftOut === 0 ? [] : [`language model: left out ${leftOut} buffers of its attention`]),
    ],
  };
}

/** The weights of a folder: safetensors before PyTorch's, one file before an index of shards. */
async function readFolder(folder: string): Promise<Map<string, StoredTensor>> {
  for (const name of ["model.safetensors", "pytorch_model.bin"]) {
    if (await isThere(join(folder, name))) return (await readWeights(join(folder, name))).tensors;
    if (await isThere(join(folder, `${name}.index.json`))) return readShards(folder, join(folder, `${name}.index.json`));
  }
  throw new CodedError("model_piece_missing", `${folder} holds no model.safetensors and no pytorch_model.bin, nor an index of either`);
}

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string().regex(/^[^/\\]+$/, "a shard lies in the folder itself")) });

async function readShards(folder: string, indexPath: string): Promise<Map<string, StoredTensor>> {
  const index = indexSchema.safeParse(await readJson(indexPath));
  if (!index.success) throw new CodedError("model_piece_corrupt", `${indexPath}: ${z.prettifyError(index.error)}`);
  const places = new Map(Object.entries(index.data.weight_map));
  const tensors = new Map<string, StoredTensor>();
  for (const shard of new Set(places.values()))
    for (const [name, tensor] of (await readWeights(join(folder, shard))).tensors) {
      if (places.get(name) !== shard)
        throw new CodedError("tensor_surplus", `${join(folder, shard)} holds ${name}, which its index doesn't say`, { param: name });
      tensors.set(name, tensor);
    }
  for (const [name, shard] of places)
    if (!tensors.has(name))
      throw new CodedError("tensor_missing", `${join(folder, shard)} lacks the tensor ${name}, which its index names`, { param: name });
  return tensors;
}
