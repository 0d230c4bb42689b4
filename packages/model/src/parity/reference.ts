/**
 * A reference folder: what OpenFlamingo's own code computed with one small model (packages/model/reference/README.md describes the form).
 * Owns reading expected.json and expected.safetensors, parsed once; refuses judging them.
 */
import { access, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import { z } from "zod";
import { widenToFloat32 } from "../float32.ts";
import type { Pieces } from "../import/pieces.ts";
import { readSafetensors } from "../import/safetensors.ts";
import { isWeight } from "../import/tensor-source.ts";
import type { GenerationOptions } from "../model.ts";

/** Hugging Face's names and defaults; an option that isn't here is one that the engine doesn't know. */
const optionsSchema = z.strictObject({
  max_new_tokens: z.int().positive(),
  min_new_tokens: z.int().nonnegative().default(0),
  num_beams: z.int().positive().default(1),
  length_penalty: z.number().default(1),
  early_stopping: z.union([z.boolean(), z.literal("never")]).default(false),
  num_return_sequences: z.int().positive().default(1),
  do_sample: z.literal(false).default(false),
});

/*
 * All below is strict: what this file doesn't name isn't computed, and a reference that holds it must not pass unseen.
 */

const generationSchema = z.strictObject({
  /** As Hugging Face names them; given back as they came. */
  options: z.record(z.string(), z.unknown()),
  tokens: z.array(z.array(z.int())),
  scores: z.array(z.number()).nullable(),
  text: z.array(z.string()),
});

const caseSchema = z.strictObject({
  prompt: z.string(),
  /** An image, or a list of frames. */
  media: z.array(z.union([z.string(), z.array(z.string())])),
  input_ids: z.array(z.int()),
  /** How far the reference's own logits in fp32 and fp64 lie apart; said, not compared. */
  drift_fp32_fp64: z.number().optional(),
  generate: z.array(generationSchema).default([]),
  rank: z.record(z.string(), z.strictObject({ tokens: z.array(z.int()), sum: z.number(), mean: z.number() })).default({}),
});

const expectedSchema = z.strictObject({
  model: z.looseObject({
    vision: z.string(),
    vision_config: z.unknown().optional(),
    language_model: z.string(),
    checkpoint: z.string(),
    cross_attn_every_n_layers: z.int().positive().optional(),
  }),
  made_with: z.unknown().optional(),
  tokenizer: z.strictObject({
    size: z.int(),
    special: z.record(z.string(), z.int()),
    texts: z.array(z.strictObject({ text: z.string(), ids: z.array(z.int()), decoded: z.string(), decoded_skip_special: z.string() })),
  }),
  cases: z.record(z.string(), caseSchema),
  sampling: z
    .strictObject({
      logits: z.string(),
      filters: z.array(z.strictObject({ temperature: z.number(), top_k: z.int(), top_p: z.number(), tensor: z.string() })),
    })
    .optional(),
  rices: z
    .strictObject({ pool: z.array(z.string()), shots: z.int().positive(), order: z.record(z.string(), z.array(z.string())) })
    .optional(),
});

export type ReferenceCase = z.infer<typeof caseSchema>;
export type ReferenceGeneration = z.infer<typeof generationSchema>;
export type ExpectedJson = z.infer<typeof expectedSchema>;

export interface NamedTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface Reference {
  readonly folder: string;
  readonly json: ExpectedJson;
  readonly tensors: ReadonlyMap<string, NamedTensor>;
  readonly pieces: Pieces;
  /** The folder of its images, `../images`. */
  readonly images: string;
}

/** Throws model_piece_missing where the folder or a file isn't there, model_piece_corrupt where one can't be understood. */
export async function readReference(folder: string): Promise<Reference> {
  const jsonPath = join(folder, "expected.json");
  const tensorsPath = join(folder, "expected.safetensors");
  for (const path of [folder, jsonPath, tensorsPath]) {
    await access(path).catch((error: unknown) => {
      throw new CodedError("model_piece_missing", `${path} isn't there`, { cause: error });
    });
  }
  const parsed = expectedSchema.safeParse(parseJson(await readFile(jsonPath, "utf8"), jsonPath));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new CodedError("model_piece_corrupt", `${jsonPath}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "doesn't fit"}`);
  }
  const { model } = parsed.data;
  return {
    folder,
    json: parsed.data,
    tensors: await readTensors(tensorsPath),
    pieces: {
      vision: join(folder, model.vision),
      ...(model.vision_config === undefined ? {} : { visionConfig: model.vision_config }),
      languageModel: join(folder, model.language_model),
      checkpoint: join(folder, model.checkpoint),
      ...(model.cross_attn_every_n_layers === undefined ? {} : { crossAttentionEvery: model.cross_attn_every_n_layers }),
    },
    images: resolve(folder, "..", "images"),
  };
}

/** A generation's options as the engine takes them; null where it names one that the engine doesn't know. */
export function generationOptions(generation: ReferenceGeneration): GenerationOptions | null {
  const parsed = optionsSchema.safeParse(generation.options);
  if (!parsed.success) return null;
  return {
    maxNewTokens: parsed.data.max_new_tokens,
    minNewTokens: parsed.data.min_new_tokens,
    numBeams: parsed.data.num_beams,
    lengthPenalty: parsed.data.length_penalty,
    earlyStopping: parsed.data.early_stopping,
    numReturnSequences: parsed.data.num_return_sequences,
  };
}

/** A media's name, as `latents/<media>` has it, and its frames. */
export function framesOf(media: string | readonly string[]): readonly string[] {
  return typeof media === "string" ? [media] : media;
}

export function mediaName(media: string | readonly string[]): string {
  return framesOf(media).join("+");
}

async function readTensors(path: string): Promise<Map<string, NamedTensor>> {
  const tensors = new Map<string, NamedTensor>();
  for (const [name, tensor] of await readSafetensors(path)) {
    if (!isWeight(tensor)) throw new CodedError("model_piece_unsupported", `${path}: ${name} holds ${tensor.dtype}`, { param: name });
    const bytes = new Uint8Array(widenToFloat32(await tensor.read(), tensor.dtype));
    tensors.set(name, { shape: tensor.shape, data: new Float32Array(bytes.buffer) });
  }
  return tensors;
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CodedError("model_piece_corrupt", `${path} isn't JSON`, { cause: error });
  }
}
