/**
 * The vision tower: a CLIP ViT in any of its four published forms (open_clip's safetensors and .bin, transformers' layout, OpenAI's TorchScript archive) → canonical tensors.
 * Owns both layouts' names and which tensors belong to the text tower; refuses towers with parts that a plain ViT doesn't have.
 */
import { CodedError } from "@flamboyance/contracts";
import type { Architecture } from "../architecture.ts";
import { openLedger, type Ledger } from "./ledger.ts";
import type { TensorSource } from "./tensor-source.ts";
import { rows, transposed } from "./views.ts";
import { readVisionConfig } from "./vision-config.ts";
import { readWeights } from "./weights-file.ts";

export interface VisionPiece {
  readonly vision: Architecture["vision"];
  readonly tensors: ReadonlyMap<string, TensorSource>;
  readonly notes: readonly string[];
}

/** `config` is a path or the parsed JSON of open_clip's or transformers' configuration; without it the one beside the file is read. */
export async function readVision(path: string, config?: unknown): Promise<VisionPiece> {
  const file = await readWeights(path);
  const ledger = openLedger(path, file.tensors);
  const layout = [openClipLayout, transformersLayout].find((candidate) => ledger.has(candidate.patchEmbedding));
  if (layout === undefined)
    throw new CodedError("model_piece_unsupported", `${path} holds neither open_clip's nor transformers' CLIP vision tower`);

  const [width, , patchSize] = ledger.shape(layout.patchEmbedding, 4);
  const [positions] = ledger.shape(layout.positionEmbedding, 2);
  const side = Math.sqrt(positions - 1);
  if (!Number.isInteger(side) || side === 0)
    throw new CodedError(
      "tensor_misshapen",
      `${path}: ${layout.positionEmbedding} has ${positions} positions: not a square of patches and a class token`,
      {
        param: layout.positionEmbedding,
      },
    );
  const [embeddingWidth] = layout.projectionTransposed
    ? ledger.shape(layout.projection, 2)
    : ledger.shape(layout.projection, 2).toReversed();
  if (embeddingWidth === undefined) throw new CodedError("tensor_misshapen", `${path}: ${layout.projection} isn't a matrix`);

  const tensors = new Map<string, TensorSource>();
  const put = (canonical: string, name: string, shape: readonly number[]): void => {
    tensors.set(`vision.${canonical}`, ledger.take(name, shape));
  };
  put("class_embedding", layout.classEmbedding, [width]);
  put("patch_embedding.weight", layout.patchEmbedding, [width, 3, patchSize, patchSize]);
  put("position_embedding", layout.positionEmbedding, [positions, width]);
  for (const [canonical, name] of [["pre_norm", layout.preNorm] as const, ["post_norm", layout.postNorm] as const])
    for (const part of ["weight", "bias"]) put(`${canonical}.${part}`, `${name}.${part}`, [width]);
  if (layout.projectionTransposed) tensors.set("vision.projection", transposed(ledger.take(layout.projection, [embeddingWidth, width])));
  else put("projection", layout.projection, [width, embeddingWidth]);

  let layers = 0;
  let mlpWidth = 0;
  for (; ledger.has(`${layout.layer(layers)}.${layout.norms[0]}.weight`); layers += 1) {
    const [from, to] = [layout.layer(layers), `layers.${layers}`];
    if (layers === 0) [mlpWidth] = ledger.shape(`${from}.${layout.mlp[0]}.weight`, 2);
    for (const part of ["weight", "bias"]) {
      const last = part === "weight" ? [width] : [];
      put(`${to}.norm_1.${part}`, `${from}.${layout.norms[0]}.${part}`, [width]);
      put(`${to}.norm_2.${part}`, `${from}.${layout.norms[1]}.${part}`, [width]);
      put(`${to}.mlp.up.${part}`, `${from}.${layout.mlp[0]}.${part}`, [mlpWidth, ...last]);
      put(`${to}.mlp.down.${part}`, `${from}.${layout.mlp[1]}.${part}`, part === "weight" ? [width, mlpWidth] : [width]);
      put(`${to}.attention.output.${part}`, `${from}.${layout.attention}.out_proj.${part}`, [width, ...last]);
    }
    for (const [name, tensor] of layout.takeQueryKeyValue(ledger, `${from}.${layout.attention}`, width))
      tensors.set(`vision.${to}.attention.${name}`, tensor);
  }
  if (layers === 0) throw new CodedError("tensor_missing", `${path} lacks the tensor ${layout.layer(0)}.${layout.norms[0]}.weight`);

  const leftOut = ledger.leaveOut(layout.textTower);
  ledger.close();

  const settings = await readVisionConfig(path, config, layout.form);
  const activation = tracedActivation(file.moduleClasses) ?? settings?.activation;
  if (activation === undefined)
    throw new CodedError(
      "model_piece_missing",
      `${path} doesn't say whether it uses QuickGELU: put its open_clip_config.json or config.json beside it, or name one`,
    );
  const wanted = settings?.heads ?? { width: 64 };
  const heads = "count" in wanted ? wanted.count : width / wanted.width;
  if (!Number.isInteger(heads) || width % heads !== 0)
    throw new CodedError(
      "model_piece_unsupported",
      `${path}: a width of ${width} can't be divided into the heads that its configuration says`,
    );
  return {
    vision: { imageSize: side * patchSize, patchSize, width, layers, heads, mlpWidth, activation, embeddingWidth },
    tensors,
    notes: leftOut === 0 ? [] : [`vision: left out ${leftOut} tensors of the text tower`],
  };
}

interface Layout {
  readonly form: "open_clip" | "transformers";
  readonly classEmbedding: string;
  readonly patchEmbedding: string;
  readonly positionEmbedding: string;
  readonly preNorm: string;
  readonly postNorm: string;
  readonly projection: string;
  /** True where it is stored as a linear layer's weight, (embedding, width). */
  readonly projectionTransposed: boolean;
  readonly norms: readonly [string, string];
  readonly mlp: readonly [string, string];
  readonly attention: string;
  readonly layer: (index: number) => string;
  readonly takeQueryKeyValue: (ledger: Ledger, attention: string, width: number) => [string, TensorSource][];
  /** The text tower, and what belongs to neither. */
  readonly textTower: RegExp;
}

const queryKeyValue = ["query", "key", "value"] as const;

const openClipLayout: Layout = {
  form: "open_clip",
  classEmbedding: "visual.class_embedding",
  patchEmbedding: "visual.conv1.weight",
  positionEmbedding: "visual.positional_embedding",
  preNorm: "visual.ln_pre",
  postNorm: "visual.ln_post",
  projection: "visual.proj",
  projectionTransposed: false,
  norms: ["ln_1", "ln_2"],
  mlp: ["mlp.c_fc", "mlp.c_proj"],
  attention: "attn",
  layer: (index) => `visual.transformer.resblocks.${index}`,
  takeQueryKeyValue: (ledger, attention, width) => {
    const weight = ledger.take(`${attention}.in_proj_weight`, [3 * width, width]); // ([query; key; value], width)
    const bias = ledger.take(`${attention}.in_proj_bias`, [3 * width]);
    return queryKeyValue.flatMap((name, part): [string, TensorSource][] => [
      [`${name}.weight`, rows(weight, part * width, width)],
      [`${name}.bias`, rows(bias, part * width, width)],
    ]);
  },
  textTower:
    /^(transformer|token_embedding|ln_final|text)\.|^(positional_embedding|text_projection|logit_scale|logit_bias|attn_mask|input_resolution|context_length|vocab_size)$/,
};

const transformersLayout: Layout = {
  form: "transformers",
  classEmbedding: "vision_model.embeddings.class_embedding",
  patchEmbedding: "vision_model.embeddings.patch_embedding.weight",
  positionEmbedding: "vision_model.embeddings.position_embedding.weight",
  // Spelled so in the library.
  preNorm: "vision_model.pre_layrnorm",
  postNorm: "vision_model.post_layernorm",
  projection: "visual_projection.weight",
  projectionTransposed: true,
  norms: ["layer_norm1", "layer_norm2"],
  mlp: ["mlp.fc1", "mlp.fc2"],
  attention: "self_attn",
  layer: (index) => `vision_model.encoder.layers.${index}`,
  takeQueryKeyValue: (ledger, attention, width) =>
    queryKeyValue.flatMap((name): [string, TensorSource][] => {
      const source = `${attention}.${name.charAt(0)}_proj`;
      return [
        [`${name}.weight`, ledger.take(`${source}.weight`, [width, width])],
        [`${name}.bias`, ledger.take(`${source}.bias`, [width])],
      ];
    }),
  textTower: /^(text_model\.|text_projection\.)|^logit_scale$|\.position_ids$/,
};

/** A TorchScript archive names the class of its activation; OpenAI's own, where the label is lost, is QuickGELU. */
function tracedActivation(moduleClasses: ReadonlyMap<string, string> | null): "quick_gelu" | "gelu" | undefined {
  const label = moduleClasses?.get("visual.transformer.resblocks.0.mlp.gelu");
  if (label === undefined) return moduleClasses === null ? undefined : "quick_gelu";
  return label.endsWith(".GELU") ? "gelu" : "quick_gelu";
}
