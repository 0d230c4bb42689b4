/**
 * MPT in both its spellings: mosaic_gpt (MPT-1B: q/k LayerNorm) and mpt (MPT-7B). ALiBi, fused Wqkv as [query; key; value], tied embeddings.
 * Refuses settings that change the arithmetic and that no released Flamingo uses.
 */
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";
import type { Ledger } from "./ledger.ts";
import { parseConfig, takeAffine, takeLinear, type LanguageModelFamily } from "./decoder-family.ts";
import type { TensorSource } from "./tensor-source.ts";
import { rows } from "./views.ts";

export const mptFamily: LanguageModelFamily = {
  modelTypes: ["mosaic_gpt", "mpt"],
  names: {
    layers: "transformer.blocks",
    inputEmbedding: "transformer.wte.weight",
    outputHead: "lm_head.weight",
    buffers: /^transformer\.attn_bias$/,
  },
  read: (path, json, ledger) => {
    const config = readConfig(path, json);
    const { width, layers, heads } = config;
    const spelling = ledger.has("transformer.blocks.0.ln_1.weight") ? mosaicSpelling : mptSpelling;
    const [mlpWidth] = ledger.shape(`transformer.blocks.0.${spelling.up}.weight`, 2);
    // `no_bias: false` alone doesn't mean that there are any: transformers' MPT ignores it. So the first layer tells, and the others must agree.
    const biased = {
      linears: !config.noBias && ledger.has("transformer.blocks.0.attn.Wqkv.bias"),
      norms: !config.noBias && ledger.has(`transformer.blocks.0.${spelling.norms[0]}.bias`),
    };
    const tensors = new Map<string, TensorSource>();
    for (let layer = 0; layer < layers; layer += 1) {
      const [from, to] = [`transformer.blocks.${layer}`, `decoder.layers.${layer}`];
      takeAffine(ledger, tensors, `${from}.${spelling.norms[0]}`, `${to}.norm_1`, width, biased.norms);
      takeAffine(ledger, tensors, `${from}.${spelling.norms[1]}`, `${to}.norm_2`, width, biased.norms);
      takeQueryKeyValue(ledger, tensors, `${from}.attn.Wqkv`, `${to}.attention`, width, biased.linears);
      takeLinear(ledger, tensors, `${from}.attn.out_proj`, `${to}.attention.output`, [width, width], biased.linears);
      if (config.queryKeyNorm) {
        takeAffine(ledger, tensors, `${from}.attn.q_ln`, `${to}.attention.query_norm`, width, biased.norms);
        takeAffine(ledger, tensors, `${from}.attn.k_ln`, `${to}.attention.key_norm`, width, biased.norms);
      }
      takeLinear(ledger, tensors, `${from}.${spelling.up}`, `${to}.mlp.up`, [mlpWidth, width], biased.linears);
      takeLinear(ledger, tensors, `${from}.${spelling.down}`, `${to}.mlp.down`, [width, mlpWidth], biased.linears);
    }
    takeAffine(ledger, tensors, spelling.finalNorm, "decoder.norm", width, biased.norms);
    return {
      decoder: {
        width,
        layers,
        heads,
        mlpWidth,
        maxPositions: config.maxPositions,
        positions: { kind: "alibi", slopes: alibiSlopes(heads, config.alibiBiasMax) },
        queryKeyNorm: config.queryKeyNorm,
        residual: "sequential",
        layerNormEps: config.layerNormEps,
        softmaxScale: config.softmaxScale ?? 1 / Math.sqrt(width / heads),
        tiedHead: config.tiedHead,
      },
      paddedVocabularySize: config.vocabularySize,
      tensors,
    };
  },
};

const mosaicSpelling = { norms: ["ln_1", "ln_2"], up: "mlp.mlp_up", down: "mlp.mlp_down", finalNorm: "transformer.ln_f" } as const;
const mptSpelling = { norms: ["norm_1", "norm_2"], up: "ffn.up_proj", down: "ffn.down_proj", finalNorm: "transformer.norm_f" } as const;

/** One slope per head, in fp32. Heads that aren't a power of two take every second slope of the next power first, as transformers' MPT does. */
export function alibiSlopes(heads: number, biasMax: number): number[] {
  const power = 2 ** Math.ceil(Math.log2(heads));
  const slopes = Array.from({ length: power }, (_, index) => Math.fround(2 ** -Math.fround(((index + 1) * biasMax) / power)));
  if (power === heads) return slopes;
  return [...slopes.filter((_, index) => index % 2 === 1), ...slopes.filter((_, index) => index % 2 === 0)].slice(0, heads);
}

const count = z.int().positive();
const scale = z.number().positive().nullable().default(null);

const shared = {
  d_model: count,
  n_heads: count,
  n_layers: count,
  vocab_size: count,
  max_seq_len: count.default(2048),
  logit_scale: z.null("only an unscaled head is known").optional(),
  no_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
};
const off = z.literal(false, "isn't known to the decoder").default(false);
const on = z.literal(true, "only ALiBi is known");
const noClip = z.null("clipped queries, keys and values aren't known").optional();

const mosaicSchema = z.object({
  ...shared,
  model_type: z.literal("mosaic_gpt"),
  alibi: on,
  alibi_bias_max: z.number().positive().default(8),
  attn_qk_ln: z.boolean().default(false),
  attn_clip_qkv: noClip,
  softmax_scale: scale,
  prefix_lm: off,
});

/** Defaults are transformers' MptConfig's: an `attn_config` may be partial or missing. */
const mptSchema = z.object({
  ...shared,
  model_type: z.literal("mpt"),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  norm_type: z.enum(["low_precision_layernorm", "layernorm"], "only LayerNorm is known").default("low_precision_layernorm"),
  attn_config: z
    .object({
      alibi: on.default(true),
      alibi_bias_max: z.number().positive().default(8),
      attn_type: z.literal("multihead_attention", "only multi-head attention is known").default("multihead_attention"),
      clip_qkv: noClip,
      prefix_lm: off,
      qk_ln: z.boolean().default(false),
      softmax_scale: scale,
    })
    .nullish()
    .transform((value) => value ?? { alibi: true, alibi_bias_max: 8, qk_ln: false, softmax_scale: null }),
});

function readConfig(path: string, json: unknown) {
  const config = parseConfig(path, z.discriminatedUnion("model_type", [mosaicSchema, mptSchema]), json);
  const attention =
    config.model_type === "mpt"
      ? config.attn_config
      : { alibi_bias_max: config.alibi_bias_max, qk_ln: config.attn_qk_ln, softmax_scale: config.softmax_scale };
  if (config.d_model % config.n_heads !== 0)
    throw new CodedError("model_piece_unsupported", `${path}: n_heads doesn't divide d_model`, { param: "n_heads" });
  return {
    width: config.d_model,
    layers: config.n_layers,
    heads: config.n_heads,
    vocabularySize: config.vocab_size,
    maxPositions: config.max_seq_len,
    noBias: config.no_bias,
    layerNormEps: config.model_type === "mpt" ? config.layer_norm_epsilon : 1e-5,
    alibiBiasMax: attention.alibi_bias_max,
    queryKeyNorm: attention.qk_ln,
    softmaxScale: attention.softmax_scale,
    // mosaic_gpt knows no head of its own.
    tiedHead: config.model_type === "mosaic_gpt" || config.tie_word_embeddings,
  };
}

function takeQueryKeyValue(
  ledger: Ledger,
  tensors: Map<string, TensorSource>,
  from: string,
  to: string,
  width: number,
  biased: boolean,
): void {
  const weight = ledger.take(`${from}.weight`, [3 * width, width]); // ([query; key; value], width)
  const bias = biased ? ledger.take(`${from}.bias`, [3 * width]) : null;
  for (const [part, name] of ["query", "key", "value"].entries()) {
    tensors.set(`${to}.${name}.weight`, rows(weight, part * width, width));
    if (bias !== null) tensors.set(`${to}.${name}.bias`, rows(bias, part * width, width));
  }
}
