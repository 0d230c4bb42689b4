/**
 * What `flamingo.json` says of a model folder. Owns the stored form and its version; refuses any knowledge of where the folder lies.
 * Everything a worker needs to prepare pixels and prompts stands here, so that it can do so without opening a session.
 */
import { z } from "zod";
import { architectureSchema } from "./architecture.ts";
import type { ProductForm } from "./graph/layers.ts";

/**
 * How numbers are kept and multiplied, chosen at import. fp32: the reference. int8: weights by output and activations by row in 8 bits, for many rows.
 * int4: vision as int8, the decoder's weights in 4-bit blocks, for few rows and small memory.
 */
export const precisionSchema = z.enum(["fp32", "int8", "int4"]);
export type Precision = z.infer<typeof precisionSchema>;

/** How each graph takes its products. */
export const productForms = {
  fp32: { vision: "float32", decoder: "float32" },
  int8: { vision: "int8", decoder: "int8" },
  int4: { vision: "int8", decoder: "int4" },
} as const satisfies Record<Precision, Record<"vision" | "decoder", ProductForm>>;

const triple = z.tuple([z.number(), z.number(), z.number()]);

const preprocessingSchema = z.strictObject({
  imageSize: z.int().positive(),
  /** Per channel, red first: pixels are (v / 255 − mean) / std. */
  mean: triple,
  std: triple,
});

const fileSchema = z.strictObject({ sizeBytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

export const modelDescriptionSchema = z.strictObject({
  /** Raised when a folder written by older code can't be opened any more. 2: neighbouring 8-bit weights are held to 128 together (ADR 8); sums over those of 1 could saturate. */
  formatVersion: z.literal(2, { error: "was written by another version of this program: import the model again" }),
  name: z.string().min(1),
  /** sha256 over everything else in this file but the name: equal content, equal hash. */
  contentHash: z.string().regex(/^[0-9a-f]{64}$/),
  precision: precisionSchema,
  architecture: architectureSchema,
  preprocessing: preprocessingSchema,
  specialTokens: z.strictObject({
    /** `<|endofchunk|>`: ends an example's text; has nothing to do with the service's chunks of items. */
    endOfChunk: z.int().nonnegative(),
    image: z.int().nonnegative(),
    pad: z.int().nonnegative(),
    endOfText: z.int().nonnegative().nullable(),
  }),
  files: z.record(z.string(), fileSchema),
  limits: z.strictObject({
    /** Tokens of prefix, row and answer together. */
    maxPositions: z.int().positive(),
    /** Tokens of prefix and row, so that one new token has room: longer ones are refused with prompt_too_long. */
    maxPromptTokens: z.int().positive(),
    /** Frames of one media. */
    maxFrames: z.int().positive(),
  }),
  /** What the import left out knowingly, for people. */
  notes: z.array(z.string()),
});

/** A model folder's flamingo.json. */
export type ModelDescription = z.infer<typeof modelDescriptionSchema>;

/** How an image becomes pixels for this model. */
export type Preprocessing = z.infer<typeof preprocessingSchema>;

/** CLIP's own, for every released Flamingo. */
export const clipNormalisation = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} satisfies Pick<Preprocessing, "mean" | "std">;

/** The files of a model folder. */
export const folderFiles = {
  description: "flamingo.json",
  visionGraph: "vision.onnx",
  visionWeights: "vision.data",
  /** In fp32 only: the vision graph for WebGPU, over the same weights. */
  deviceVisionGraph: "vision.device.onnx",
  decoderGraph: "decoder.onnx",
  decoderWeights: "decoder.data",
  tokenizer: "tokenizer.json",
} as const;
