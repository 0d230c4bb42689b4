/**
 * OpenFlamingo's checkpoint.pt → the resampler, the gated cross attention, and the embeddings at the tokenizer's size.
 * Owns the names under `perceiver.` and `lang_encoder.`, and the copies that some files carry: a copy must equal what it copies.
 * Refuses to let a checkpoint silently replace the language model's own blocks.
 */
import { CodedError } from "@flamboyance/contracts";
import { attentionHeadWidth, type Architecture } from "../architecture.ts";
import type { LanguageModelPiece } from "./language-model.ts";
import { openLedger, type Ledger } from "./ledger.ts";
import { sameNumbers } from "./same-numbers.ts";
import type { StoredTensor, TensorSource } from "./tensor-source.ts";
import { rows } from "./views.ts";
import { readWeights } from "./weights-file.ts";

export interface CheckpointPiece {
  readonly resampler: Architecture["resampler"];
  readonly crossAttention: Architecture["crossAttention"];
  readonly vocabularySize: number;
  readonly tensors: ReadonlyMap<string, TensorSource>;
  readonly notes: readonly string[];
}

export interface CheckpointContext {
  readonly visionWidth: number;
  readonly languageModel: LanguageModelPiece;
  /** Every n-th layer cross-attends; read from the layers' numbers where it isn't given. */
  readonly crossAttentionEvery: number | undefined;
}

export async function readCheckpoint(path: string, context: CheckpointContext): Promise<CheckpointPiece> {
  const { languageModel, visionWidth } = context;
  const { tensors: stored, notes } = await withoutCopies(path, (await readWeights(path)).tensors, languageModel);
  const ledger = openLedger(path, stored);
  const tensors = new Map<string, TensorSource>();
  const resampler = takeResampler(ledger, tensors, visionWidth);
  const crossAttention = takeCrossAttention(path, ledger, tensors, context);
  const vocabularySize = await takeEmbeddings(path, ledger, tensors, languageModel);
  ledger.close();
  return { resampler, crossAttention, vocabularySize, tensors, notes };
}

function takeResampler(ledger: Ledger, tensors: Map<string, TensorSource>, width: number): Architecture["resampler"] {
  const [latents] = ledger.shape("perceiver.latents", 2);
  tensors.set("resampler.latents", ledger.take("perceiver.latents", [latents, width]));
  let maxFrames: number | null = null;
  if (ledger.has("perceiver.frame_embs")) {
    [maxFrames] = ledger.shape("perceiver.frame_embs", 2);
    tensors.set("resampler.frame_embeddings", ledger.take("perceiver.frame_embs", [maxFrames, width]));
  }
  takeNorm(ledger, tensors, "perceiver.norm", "resampler.norm", width);
  const innerWidth = headedWidth(ledger, "perceiver.layers.0.0.to_q.weight");
  const [feedForwardWidth] = ledger.shape("perceiver.layers.0.1.1.weight", 2);
  const layers = layerNumbers(ledger, "perceiver.layers.", ".").length;
  for (let layer = 0; layer < layers; layer += 1) {
    const [attention, feedForward, to] = [`perceiver.layers.${layer}.0`, `perceiver.layers.${layer}.1`, `resampler.layers.${layer}`];
    takeNorm(ledger, tensors, `${attention}.norm_media`, `${to}.attention.norm_media`, width);
    takeNorm(ledger, tensors, `${attention}.norm_latents`, `${to}.attention.norm_latents`, width);
    takeAttention(ledger, tensors, attention, `${to}.attention`, { width, mediaWidth: width, innerWidth });
    takeFeedForward(ledger, tensors, feedForward, `${to}.feed_forward`, width, feedForwardWidth);
  }
  return { layers, latents, innerWidth, feedForwardWidth, maxFrames };
}

function takeCrossAttention(
  path: string,
  ledger: Ledger,
  tensors: Map<string, TensorSource>,
  context: CheckpointContext,
): Architecture["crossAttention"] {
  const { decoder, names } = context.languageModel;
  const prefix = `lang_encoder.${names.layers}.`;
  const numbers = layerNumbers(ledger, prefix, ".gated_cross_attn_layer.");
  const every = context.crossAttentionEvery ?? numbers.map((layer) => layer + 1).reduce(greatestCommonDivisor, 0);
  if (every < 1 || every > decoder.layers)
    throw new CodedError(
      "tensor_missing",
      `${path} holds no cross attention for a language model of ${decoder.layers} layers under ${prefix}`,
      { param: prefix },
    );

  const layerOf = (layer: number): string => `${prefix}${layer}.gated_cross_attn_layer`;
  const innerWidth = headedWidth(ledger, `${layerOf(every - 1)}.attn.to_q.weight`);
  const [feedForwardWidth] = ledger.shape(`${layerOf(every - 1)}.ff.1.weight`, 2);
  for (let layer = every - 1; layer < decoder.layers; layer += every) {
    const [from, to] = [layerOf(layer), `cross.${layer}`];
    takeNorm(ledger, tensors, `${from}.attn.norm`, `${to}.attention.norm`, decoder.width);
    takeAttention(ledger, tensors, `${from}.attn`, `${to}.attention`, {
      width: decoder.width,
      mediaWidth: context.visionWidth,
      innerWidth,
    });
    tensors.set(`${to}.attention.gate`, ledger.take(`${from}.attn_gate`, [1]));
    takeFeedForward(ledger, tensors, `${from}.ff`, `${to}.feed_forward`, decoder.width, feedForwardWidth);
    tensors.set(`${to}.feed_forward.gate`, ledger.take(`${from}.ff_gate`, [1]));
  }
  return { every, innerWidth, feedForwardWidth };
}

/** All rows of the embeddings: they replace the language model's. A tied head may be written too, and then equals the input. */
async function takeEmbeddings(
  path: string,
  ledger: Ledger,
  tensors: Map<string, TensorSource>,
  { decoder, names }: LanguageModelPiece,
): Promise<number> {
  const [inputName, headName] = [`lang_encoder.${names.inputEmbedding}`, `lang_encoder.${names.outputHead}`];
  const [vocabularySize] = ledger.shape(inputName, 2);
  const shape = [vocabularySize, decoder.width];
  const input = ledger.take(inputName, shape);
  tensors.set("decoder.embedding", input);
  if (!decoder.tiedHead) tensors.set("decoder.head", ledger.take(headName, shape));
  else if (ledger.has(headName) && !(await sameNumbers(ledger.take(headName, shape), input)))
    throw new CodedError("tensor_surplus", `${path}: ${headName} differs from ${inputName}, though the language model ties them`, {
      param: headName,
    });
  return vocabularySize;
}

/**
 * Older and full files hold some tensors twice (`lang_encoder.gated_cross_attn_layers.*`, `lang_encoder.old_decoder_blocks.*`) or the language model's
 * own (`….decoder_layer.*`, its final norm), and buffers of its attention. Copies that equal the original are left out; others are an error.
 */
async function withoutCopies(
  path: string,
  stored: ReadonlyMap<string, StoredTensor>,
  { names, stored: folder }: LanguageModelPiece,
): Promise<{ tensors: Map<string, StoredTensor>; notes: string[] }> {
  const layers = `lang_encoder.${names.layers}.`;
  const tensors = new Map<string, StoredTensor>();
  let [buffers, copies] = [0, 0];
  const compare = async (tensor: StoredTensor, original: StoredTensor, where: string): Promise<void> => {
    if (!(await sameNumbers(tensor, original)))
      throw new CodedError(
        "tensor_surplus",
        `${path}: ${tensor.name} differs from ${original.name} ${where}, of which it should be a copy`,
        { param: tensor.name },
      );
    copies += 1;
  };
  for (const [name, tensor] of stored) {
    const listed = /^lang_encoder\.gated_cross_attn_layers\.(\d+)\.(.+)$/.exec(name);
    if (listed !== null) {
      const inPlace = `${layers}${listed[1]}.gated_cross_attn_layer.${listed[2]}`;
      const original = stored.get(inPlace);
      if (original === undefined) tensors.set(inPlace, tensor);
      else await compare(tensor, original, "in the same file");
      continue;
    }
    const own = ownName(name, layers, names.layers);
    const original = own === null || own === names.inputEmbedding || own === names.outputHead ? undefined : folder.get(own);
    if (own !== null && names.buffers.test(own)) buffers += 1;
    else if (original !== undefined) await compare(tensor, original, "in the language model's folder");
    else tensors.set(name, tensor);
  }
  const notes = [];
  if (buffers > 0) notes.push(`checkpoint: left out ${buffers} buffers of the language model's attention`);
  if (copies > 0) notes.push(`checkpoint: left out ${copies} tensors that it holds twice or that equal the language model's`);
  return { tensors, notes };
}

/** The name in the language model's folder of what a checkpoint calls its block's tensor; null for Flamingo's own tensors. */
function ownName(name: string, prefix: string, layers: string): string | null {
  const block = /^lang_encoder\.old_decoder_blocks\.(\d+)\.(.+)$/.exec(name);
  if (block !== null) return `${layers}.${block[1]}.${block[2]}`;
  if (name.startsWith(prefix)) {
    const wrapped = /^(\d+)\.decoder_layer\.(.+)$/.exec(name.slice(prefix.length));
    return wrapped === null ? null : `${layers}.${wrapped[1]}.${wrapped[2]}`;
  }
  return name.startsWith("lang_encoder.") ? name.slice("lang_encoder.".length) : null;
}

/** to_q, to_kv as [key; value], to_out: none of them has a bias. */
function takeAttention(
  ledger: Ledger,
  tensors: Map<string, TensorSource>,
  from: string,
  to: string,
  { width, mediaWidth, innerWidth }: { width: number; mediaWidth: number; innerWidth: number },
): void {
  tensors.set(`${to}.query.weight`, ledger.take(`${from}.to_q.weight`, [innerWidth, width]));
  const keyValue = ledger.take(`${from}.to_kv.weight`, [2 * innerWidth, mediaWidth]);
  tensors.set(`${to}.key.weight`, rows(keyValue, 0, innerWidth));
  tensors.set(`${to}.value.weight`, rows(keyValue, innerWidth, innerWidth));
  tensors.set(`${to}.output.weight`, ledger.take(`${from}.to_out.weight`, [width, innerWidth]));
}

/** A Sequential of LayerNorm, Linear, GELU, Linear: hence the numbers. */
function takeFeedForward(
  ledger: Ledger,
  tensors: Map<string, TensorSource>,
  from: string,
  to: string,
  width: number,
  innerWidth: number,
): void {
  takeNorm(ledger, tensors, `${from}.0`, `${to}.norm`, width);
  tensors.set(`${to}.up.weight`, ledger.take(`${from}.1.weight`, [innerWidth, width]));
  tensors.set(`${to}.down.weight`, ledger.take(`${from}.3.weight`, [width, innerWidth]));
}

function takeNorm(ledger: Ledger, tensors: Map<string, TensorSource>, from: string, to: string, width: number): void {
  for (const part of ["weight", "bias"]) tensors.set(`${to}.${part}`, ledger.take(`${from}.${part}`, [width]));
}

function headedWidth(ledger: Ledger, name: string): number {
  const [width] = ledger.shape(name, 2);
  if (width % attentionHeadWidth !== 0)
    throw new CodedError("tensor_misshapen", `${name} has ${width} rows: not a multiple of a head's ${attentionHeadWidth}`, {
      param: name,
    });
  return width;
}

/** The numbers between `before` and `after` in the names that are still open, ascending. */
function layerNumbers(ledger: Ledger, before: string, after: string): number[] {
  const numbers = new Set<number>();
  for (const name of ledger.open()) {
    const number = name.startsWith(before) ? /^\d+/.exec(name.slice(before.length))?.[0] : undefined;
    if (number !== undefined && name.startsWith(after, before.length + number.length)) numbers.add(Number(number));
  }
  return [...numbers].toSorted((a, b) => a - b);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
