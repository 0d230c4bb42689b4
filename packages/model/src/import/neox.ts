/**
 * GPT-NeoX (RedPajama-INCITE, Pythia): rotary positions on the first part of each head, query_key_value fused per head, both residual forms, a head of its own.
 * Refuses scaled rotary positions and other activations. Stored `rotary_emb.inv_freq` are left out: they are often rounded, and the graph computes them.
 */
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";
import { parseConfig, takeAffine, takeLinear, type LanguageModelFamily } from "./decoder-family.ts";
import type { TensorSource } from "./tensor-source.ts";
import { interleavedRows } from "./views.ts";

export const neoxFamily: LanguageModelFamily = {
  modelTypes: ["gpt_neox"],
  names: {
    layers: "gpt_neox.layers",
    inputEmbedding: "gpt_neox.embed_in.weight",
    outputHead: "embed_out.weight",
    buffers: /(^|\.)attention\.(bias|masked_bias|rotary_emb\.inv_freq)$/,
  },
  read: (path, json, ledger) => {
    const config = parseConfig(path, configSchema, json);
    const { hidden_size: width, num_hidden_layers: layers, num_attention_heads: heads } = config;
    const headWidth = width / heads;
    const rotary = config.rope_parameters;
    const rotaryWidth = Math.trunc(headWidth * (rotary?.partial_rotary_factor ?? config.partial_rotary_factor ?? config.rotary_pct));
    if (!Number.isInteger(headWidth) || rotaryWidth < 2 || rotaryWidth % 2 !== 0)
      throw new CodedError(
        "model_piece_unsupported",
        `${path}: ${heads} heads of a width of ${width} can't be rotated on ${rotaryWidth} of each head`,
      );

    const mlpWidth = config.intermediate_size ?? ledger.shape("gpt_neox.layers.0.mlp.dense_h_to_4h.weight", 2)[0];
    const tensors = new Map<string, TensorSource>();
    for (let layer = 0; layer < layers; layer += 1) {
      const [from, to] = [`gpt_neox.layers.${layer}`, `decoder.layers.${layer}`];
      takeAffine(ledger, tensors, `${from}.input_layernorm`, `${to}.norm_1`, width, true);
      takeAffine(ledger, tensors, `${from}.post_attention_layernorm`, `${to}.norm_2`, width, true);
      const fused = `${from}.attention.query_key_value`;
      const weight = ledger.take(`${fused}.weight`, [3 * width, width]); // (heads × [query, key, value] × headWidth, width)
      const bias = config.attention_bias ? ledger.take(`${fused}.bias`, [3 * width]) : null;
      for (const [part, name] of ["query", "key", "value"].entries()) {
        tensors.set(`${to}.attention.${name}.weight`, interleavedRows(weight, heads, 3, part));
        if (bias !== null) tensors.set(`${to}.attention.${name}.bias`, interleavedRows(bias, heads, 3, part));
      }
      takeLinear(ledger, tensors, `${from}.attention.dense`, `${to}.attention.output`, [width, width], config.attention_bias);
      takeLinear(ledger, tensors, `${from}.mlp.dense_h_to_4h`, `${to}.mlp.up`, [mlpWidth, width], true);
      takeLinear(ledger, tensors, `${from}.mlp.dense_4h_to_h`, `${to}.mlp.down`, [width, mlpWidth], true);
    }
    takeAffine(ledger, tensors, "gpt_neox.final_layer_norm", "decoder.norm", width, true);
    return {
      decoder: {
        width,
        layers,
        heads,
        mlpWidth,
        maxPositions: config.max_position_embeddings,
        positions: { kind: "rotary", width: rotaryWidth, base: rotary?.rope_theta ?? config.rope_theta ?? config.rotary_emb_base },
        queryKeyNorm: false,
        residual: config.use_parallel_residual ? "parallel" : "sequential",
        layerNormEps: config.layer_norm_eps,
        softmaxScale: 1 / Math.sqrt(headWidth),
        tiedHead: config.tie_word_embeddings,
      },
      paddedVocabularySize: config.vocab_size,
      tensors,
    };
  },
};

const count = z.int().positive();

/** Defaults are transformers' GPTNeoXConfig's. */
const configSchema = z.object({
  hidden_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  vocab_size: count,
  intermediate_size: count.optional(),
  hidden_act: z.literal("gelu", "only exact GELU is known").default("gelu"),
  rotary_pct: z.number().positive().max(1).default(0.25),
  partial_rotary_factor: z.number().positive().max(1).optional(),
  rotary_emb_base: z.number().positive().default(10_000),
  rope_theta: z.number().positive().optional(),
  /** Where transformers 5 keeps them. */
  rope_parameters: z
    .object({
      rope_type: z.literal("default", "scaled rotary positions aren't known").default("default"),
      rope_theta: z.number().positive().optional(),
      partial_rotary_factor: z.number().positive().max(1).optional(),
    })
    .nullish(),
  rope_scaling: z.null("scaled rotary positions aren't known").optional(),
  max_position_embeddings: count.default(2048),
  attention_bias: z.boolean().default(true),
  layer_norm_eps: z.number().positive().default(1e-5),
  use_parallel_residual: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(false),
});
