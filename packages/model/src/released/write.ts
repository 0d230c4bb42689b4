/**
 * Writes a preset's pieces into a folder, file by file as they were released, with made-up numbers or none. For tests and for `npm run bench:import`.
 * Owns the files' names, forms and configurations; refuses to know what an import makes of them.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Pieces } from "../import/pieces.ts";
import type { Preset } from "../import/presets.ts";
import {
  checkpointLayout,
  languageModelLayout,
  paddedRows,
  releasedTextTower,
  visionLayout,
  type LayoutTensor,
  type TextTower,
} from "./layout.ts";
import { seededNumbers } from "./numbers.ts";
import { sizeBytes, writePytorch, writeSafetensors } from "./weights-writer.ts";

export interface ReleasedOptions {
  /** Seed of the made-up numbers; null leaves holes, which read as zeros. */
  readonly seed: number | null;
  /** Rows of the language model's own embeddings. Default: the released 50,432. */
  readonly embeddingRows?: number;
  readonly textTower?: TextTower;
  /** Where the language model lies in shards: bytes of one at most. Default: 10 GB, as the libraries split them. */
  readonly maxShardBytes?: number;
}

/** Answers the paths as an import takes them. */
export async function writeReleasedPieces(preset: Preset, folder: string, options: ReleasedOptions): Promise<Pieces> {
  const { seed, embeddingRows = paddedRows, textTower = releasedTextTower, maxShardBytes = 10e9 } = options;
  const numbers = seed === null ? null : seededNumbers(seed);
  const [vision, languageModel, checkpoint] = [join(folder, "vision"), join(folder, "lm"), join(folder, "checkpoint")];
  for (const place of [vision, languageModel, checkpoint]) await mkdir(place, { recursive: true });

  const [visionFile] = preset.pieces.vision.files;
  await writeSafetensors(join(vision, visionFile), visionLayout(preset, textTower), numbers);
  await writeJson(join(vision, "config.json"), visionConfig(preset));

  const { files } = preset.pieces.languageModel;
  const tensors = languageModelLayout(preset, embeddingRows);
  const names = files.filter((file) => file.endsWith(".bin"));
  const shards = names.length === 1 ? [tensors] : splitShards(tensors, maxShardBytes);
  if (shards.length !== names.length)
    throw new Error(`${shards.length} shards of ${maxShardBytes} bytes where ${names.length} are released`);
  const weightMap: Record<string, string> = {};
  for (const [index, shard] of shards.entries()) {
    const name = names[index] ?? "";
    await writePytorch(join(languageModel, name), shard, numbers);
    for (const tensor of shard) weightMap[tensor.name] = name;
  }
  if (shards.length > 1)
    await writeJson(join(languageModel, "pytorch_model.bin.index.json"), {
      metadata: { total_size: tensors.reduce((sum, tensor) => sum + sizeBytes(tensor), 0) },
      weight_map: weightMap,
    });
  await writeJson(join(languageModel, "config.json"), languageModelConfig(preset, embeddingRows));
  await writeTokenizer(languageModel, preset.tokenizer.ownSize);

  const [checkpointFile] = preset.pieces.checkpoint.files;
  await writePytorch(join(checkpoint, checkpointFile), checkpointLayout(preset), numbers);
  return { vision: join(vision, visionFile), languageModel, checkpoint: join(checkpoint, checkpointFile) };
}

/** As transformers splits: in order, a new shard where the next tensor doesn't fit. */
function splitShards(tensors: readonly LayoutTensor[], maxBytes: number): LayoutTensor[][] {
  const shards: LayoutTensor[][] = [];
  let filledBytes = maxBytes;
  for (const tensor of tensors) {
    const bytes = sizeBytes(tensor);
    if (filledBytes + bytes > maxBytes) {
      shards.push([]);
      filledBytes = 0;
    }
    filledBytes += bytes;
    shards.at(-1)?.push(tensor);
  }
  return shards;
}

function visionConfig({ architecture: { vision } }: Preset): unknown {
  return {
    architectures: ["CLIPModel"],
    model_type: "clip",
    projection_dim: vision.embeddingWidth,
    vision_config: {
      hidden_act: vision.activation,
      hidden_size: vision.width,
      image_size: vision.imageSize,
      intermediate_size: vision.mlpWidth,
      layer_norm_eps: 1e-5,
      num_attention_heads: vision.heads,
      num_hidden_layers: vision.layers,
      patch_size: vision.patchSize,
    },
  };
}

function languageModelConfig({ architecture: { decoder }, quirks }: Preset, embeddingRows: number): unknown {
  if (quirks.includes("attention_buffers"))
    return {
      architectures: ["GPTNeoXForCausalLM"],
      hidden_act: "gelu",
      hidden_size: decoder.width,
      intermediate_size: decoder.mlpWidth,
      layer_norm_eps: 1e-5,
      max_position_embeddings: decoder.maxPositions,
      model_type: "gpt_neox",
      num_attention_heads: decoder.heads,
      num_hidden_layers: decoder.layers,
      rotary_emb_base: 10_000,
      rotary_pct: 1,
      tie_word_embeddings: false,
      torch_dtype: "float16",
      use_parallel_residual: false,
      vocab_size: embeddingRows,
    };
  const shared = {
    d_model: decoder.width,
    logit_scale: null,
    max_seq_len: decoder.maxPositions,
    n_heads: decoder.heads,
    n_layers: decoder.layers,
    no_bias: true,
    tokenizer_name: "EleutherAI/gpt-neox-20b",
    torch_dtype: "float32",
    vocab_size: embeddingRows,
  };
  const attention = { alibi: true, alibi_bias_max: 8, prefix_lm: false, softmax_scale: null };
  if (quirks.includes("query_key_norm"))
    return { ...shared, ...attention, attn_clip_qkv: null, attn_qk_ln: true, mlp_ratio: 4, model_type: "mosaic_gpt" };
  const attnConfig = { ...attention, attn_impl: "torch", attn_type: "multihead_attention", clip_qkv: null, qk_ln: false };
  return { ...shared, attn_config: attnConfig, expansion_ratio: 4, model_type: "mpt", norm_type: "low_precision_layernorm" };
}

/** The reference models' small tokenizer of the same form, with entries that no text reaches up to the released size. */
async function writeTokenizer(folder: string, size: number): Promise<void> {
  const reference = join(import.meta.dirname, "../../reference/mpt-qk-norm/lm-mpt-1b-redpajama-200b");
  for (const name of ["tokenizer_config.json", "special_tokens_map.json"])
    await writeFile(join(folder, name), await readFile(join(reference, name)));
  const parsed: unknown = JSON.parse(await readFile(join(reference, "tokenizer.json"), "utf8"));
  await writeJson(join(folder, "tokenizer.json"), padTokenizer(tokenizerSchema.parse(parsed), size));
}

const tokenizerSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.number() })),
  model: z.looseObject({ vocab: z.record(z.string(), z.number()) }),
});

/** Added tokens past the vocabulary (runs of spaces, in GPT-NeoX's) stay the last. */
function padTokenizer(tokenizer: z.infer<typeof tokenizerSchema>, size: number): unknown {
  const { vocab } = tokenizer.model;
  const own = Object.keys(vocab).length;
  const last = tokenizer.added_tokens.filter(({ id }) => id >= own).length;
  const fillers = size - own - last;
  const filled = { ...vocab };
  for (let index = 0; index < fillers; index += 1) filled[`filler ${index}`] = own + index;
  return {
    ...tokenizer,
    added_tokens: tokenizer.added_tokens.map((token) => (token.id < own ? token : { ...token, id: token.id + fillers })),
    model: { ...tokenizer.model, vocab: filled },
  };
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, JSON.stringify(value, null, 2));
}
