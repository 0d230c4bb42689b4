/**
 * What the released files hold, tensor by tensor: names, shapes and types as their publishers wrote them, for any sizes. Owns these spellings, written down from the published
 * code and not from our readers, so that the two can disagree; refuses bytes (weights-writer.ts) and files (write.ts).
 */
import type { Preset } from "../import/presets.ts";
import type { StoredType } from "../import/tensor-source.ts";

export interface LayoutTensor {
  readonly name: string;
  readonly dtype: StoredType;
  readonly shape: readonly number[];
}

/** The padded rows of all released language models' embeddings. */
export const paddedRows = 50_432;

/** CLIP's text tower of ViT-L/14; it rides along in the vision file. */
export interface TextTower {
  readonly width: number;
  readonly layers: number;
  readonly vocabulary: number;
}
export const releasedTextTower: TextTower = { width: 768, layers: 12, vocabulary: 49_408 };

/** transformers' CLIPModel, as in openai/clip-vit-large-patch14's model.safetensors. */
export function visionLayout({ architecture: { vision } }: Preset, text: TextTower): LayoutTensor[] {
  const patches = (vision.imageSize / vision.patchSize) ** 2;
  const tower = (prefix: string, width: number, mlpWidth: number, layers: number): LayoutTensor[] =>
    Array.from({ length: layers }, (_, layer) => `${prefix}.encoder.layers.${layer}`).flatMap((at) => [
      ...["k_proj", "v_proj", "q_proj", "out_proj"].flatMap((name) => linear(`${at}.self_attn.${name}`, width, width)),
      ...norm(`${at}.layer_norm1`, width),
      ...linear(`${at}.mlp.fc1`, mlpWidth, width),
      ...linear(`${at}.mlp.fc2`, width, mlpWidth),
      ...norm(`${at}.layer_norm2`, width),
    ]);
  return [
    float("logit_scale"),
    { name: "text_model.embeddings.position_ids", dtype: "i64", shape: [1, 77] },
    float("text_model.embeddings.token_embedding.weight", text.vocabulary, text.width),
    float("text_model.embeddings.position_embedding.weight", 77, text.width),
    ...tower("text_model", text.width, 4 * text.width, text.layers),
    ...norm("text_model.final_layer_norm", text.width),
    float("vision_model.embeddings.class_embedding", vision.width),
    { name: "vision_model.embeddings.position_ids", dtype: "i64", shape: [1, patches + 1] },
    float("vision_model.embeddings.patch_embedding.weight", vision.width, 3, vision.patchSize, vision.patchSize),
    float("vision_model.embeddings.position_embedding.weight", patches + 1, vision.width),
    ...norm("vision_model.pre_layrnorm", vision.width),
    ...tower("vision_model", vision.width, vision.mlpWidth, vision.layers),
    ...norm("vision_model.post_layernorm", vision.width),
    float("visual_projection.weight", vision.embeddingWidth, vision.width),
    float("text_projection.weight", vision.embeddingWidth, text.width),
  ];
}

/** The language model's own file, all rows of its padded embeddings included. */
export function languageModelLayout({ architecture: { decoder }, quirks }: Preset, embeddingRows: number): LayoutTensor[] {
  const { width, mlpWidth, maxPositions } = decoder;
  const layers = Array.from({ length: decoder.layers }, (_, layer) => layer);
  if (quirks.includes("attention_buffers"))
    // GPT-NeoX, saved in half precision.
    return [
      half("gpt_neox.embed_in.weight", embeddingRows, width),
      ...layers.flatMap((layer) => {
        const at = `gpt_neox.layers.${layer}`;
        return [
          ...halves(norm(`${at}.input_layernorm`, width)),
          ...halves(norm(`${at}.post_attention_layernorm`, width)),
          ...neoxBuffers(`${at}.attention`, maxPositions ?? 0, width / decoder.heads, "f16"),
          ...halves(linear(`${at}.attention.query_key_value`, 3 * width, width)),
          ...halves(linear(`${at}.attention.dense`, width, width)),
          ...halves(linear(`${at}.mlp.dense_h_to_4h`, mlpWidth, width)),
          ...halves(linear(`${at}.mlp.dense_4h_to_h`, width, mlpWidth)),
        ];
      }),
      ...halves(norm("gpt_neox.final_layer_norm", width)),
      half("embed_out.weight", embeddingRows, width),
    ];
  // MPT: mosaic_gpt (with q/k LayerNorm) and mpt spell differently; neither has biases.
  const mosaic = quirks.includes("query_key_norm");
  const [first, second, up, down, last] = mosaic
    ? ["ln_1", "ln_2", "mlp.mlp_up", "mlp.mlp_down", "ln_f"]
    : ["norm_1", "norm_2", "ffn.up_proj", "ffn.down_proj", "norm_f"];
  return [
    float("transformer.wte.weight", embeddingRows, width),
    ...layers.flatMap((layer) => {
      const at = `transformer.blocks.${layer}`;
      return [
        float(`${at}.${first}.weight`, width),
        float(`${at}.attn.Wqkv.weight`, 3 * width, width),
        ...(mosaic ? [float(`${at}.attn.q_ln.weight`, width), float(`${at}.attn.k_ln.weight`, width)] : []),
        float(`${at}.attn.out_proj.weight`, width, width),
        float(`${at}.${second}.weight`, width),
        float(`${at}.${up}.weight`, mlpWidth, width),
        float(`${at}.${down}.weight`, width, mlpWidth),
      ];
    }),
    float(`transformer.${last}.weight`, width),
  ];
}

/** OpenFlamingo's checkpoint.pt: what was trained, and with some the buffers that its filter left in. */
export function checkpointLayout({ architecture, names, quirks }: Preset): LayoutTensor[] {
  const { vision, resampler, crossAttention, decoder } = architecture;
  const attention = (at: string, width: number, mediaWidth: number, innerWidth: number): LayoutTensor[] => [
    float(`${at}.to_q.weight`, innerWidth, width),
    float(`${at}.to_kv.weight`, 2 * innerWidth, mediaWidth),
    float(`${at}.to_out.weight`, width, innerWidth),
  ];
  const feedForward = (at: string, width: number, innerWidth: number): LayoutTensor[] => [
    ...norm(`${at}.0`, width),
    float(`${at}.1.weight`, innerWidth, width),
    float(`${at}.3.weight`, width, innerWidth),
  ];
  return [
    float("perceiver.latents", resampler.latents, vision.width),
    ...Array.from({ length: resampler.layers }, (_, layer) => `perceiver.layers.${layer}`).flatMap((at) => [
      ...norm(`${at}.0.norm_media`, vision.width),
      ...norm(`${at}.0.norm_latents`, vision.width),
      ...attention(`${at}.0`, vision.width, vision.width, resampler.innerWidth),
      ...feedForward(`${at}.1`, vision.width, resampler.feedForwardWidth),
    ]),
    ...norm("perceiver.norm", vision.width),
    float(`lang_encoder.${names.inputEmbedding}`, decoder.vocabularySize, decoder.width),
    ...Array.from({ length: decoder.layers }, (_, layer) => `lang_encoder.${names.layers}.${layer}`).flatMap((at, layer) => [
      ...((layer + 1) % crossAttention.every === 0
        ? [
            float(`${at}.gated_cross_attn_layer.attn_gate`, 1),
            float(`${at}.gated_cross_attn_layer.ff_gate`, 1),
            ...norm(`${at}.gated_cross_attn_layer.attn.norm`, decoder.width),
            ...attention(`${at}.gated_cross_attn_layer.attn`, decoder.width, vision.width, crossAttention.innerWidth),
            ...feedForward(`${at}.gated_cross_attn_layer.ff`, decoder.width, crossAttention.feedForwardWidth),
          ]
        : []),
      ...(quirks.includes("checkpoint_buffers")
        ? neoxBuffers(`${at}.decoder_layer.attention`, decoder.maxPositions ?? 0, decoder.width / decoder.heads, "f32")
        : []),
    ]),
    ...(decoder.tiedHead ? [] : [float(`lang_encoder.${names.outputHead}`, decoder.vocabularySize, decoder.width)]),
  ];
}

/** transformers 4.28 registers them with every GPT-NeoX layer: the causal mask, its fill, the rotary frequencies. */
function neoxBuffers(at: string, positions: number, headWidth: number, dtype: "f16" | "f32"): LayoutTensor[] {
  return [
    { name: `${at}.bias`, dtype: "bool", shape: [1, 1, positions, positions] },
    { name: `${at}.masked_bias`, dtype, shape: [] },
    { name: `${at}.rotary_emb.inv_freq`, dtype, shape: [headWidth / 2] },
  ];
}

function float(name: string, ...shape: number[]): LayoutTensor {
  return { name, dtype: "f32", shape };
}

function half(name: string, ...shape: number[]): LayoutTensor {
  return { name, dtype: "f16", shape };
}

function halves(tensors: readonly LayoutTensor[]): LayoutTensor[] {
  return tensors.map((tensor) => ({ ...tensor, dtype: "f16" }));
}

function norm(name: string, width: number): LayoutTensor[] {
  return [float(`${name}.weight`, width), float(`${name}.bias`, width)];
}

function linear(name: string, outWidth: number, inWidth: number): LayoutTensor[] {
  return [float(`${name}.weight`, outWidth, inWidth), float(`${name}.bias`, outWidth)];
}
