/**
 * How texts are generated: the fields of a batch's `generation`, what they are where they are left out, and which go together. What doesn't is refused with its
 * field's name, never left aside in silence.
 */
import { z } from "zod";
import { limits } from "./limits.ts";

export const generation = z.strictObject({
  max_new_tokens: z.int().min(1).max(limits.newTokens).optional().describe("Default 20, for vqa 5."),
  min_new_tokens: z
    .int()
    .min(0)
    .max(limits.newTokens)
    .default(0)
    .describe("Until so many tokens are made, the end-of-chunk token can't be chosen. A stop string ends a text all the same."),
  num_beams: z
    .int()
    .min(1)
    .max(limits.beams)
    .optional()
    .describe("Default 3, OpenFlamingo's; 1 (greedy, or sampled) where `stop` or anything of sampling is given."),
  length_penalty: z
    .number()
    .min(-2)
    .max(2)
    .optional()
    .describe("Beams only: a text scores the sum of its log-probabilities / length^length_penalty, the prompt counted. Default 0."),
  early_stopping: z
    .union([z.boolean(), z.literal("never")])
    .optional()
    .describe("Beams only, as Hugging Face's. Default false."),
  temperature: z
    .number()
    .positive()
    .max(2)
    .optional()
    .describe("Samples: logits are divided by it. 1 where only other filters or a seed are given."),
  top_k: z.int().min(1).max(limits.topK).optional().describe("Samples from the k likeliest tokens, after temperature."),
  top_p: z.number().positive().max(1).optional().describe("Samples from the likeliest tokens that make up p, of those that top_k left."),
  seed: z
    .int()
    .optional()
    .describe("Samples: the same seed gives the same text for the same custom_id, prompt and image. Default: one of the batch's own."),
  n: z.int().min(1).max(limits.texts).optional().describe("Texts per item: drawn apart, or the best beams (at most num_beams). Default 1."),
  stop: z
    .array(z.string().min(1).max(limits.stopCharacters))
    .min(1)
    .max(limits.stopStrings)
    .optional()
    .describe("One beam only: a text ends before the first of these, also where it spans tokens."),
  logprobs: z.boolean().optional().describe("Whether each choice has its tokens' log-probabilities. Default false."),
});
export type Generation = z.infer<typeof generation>;

const samplingFields = ["temperature", "top_k", "top_p", "seed"] as const;
const beamFields = ["length_penalty", "early_stopping"] as const;

/** OpenFlamingo's evaluation searches with three. */
const defaultBeams = 3;

export function isSampled(asked: Generation): boolean {
  return samplingFields.some((field) => asked[field] !== undefined);
}

export function beamsOf(asked: Generation): number {
  return asked.num_beams ?? (isSampled(asked) || asked.stop !== undefined ? 1 : defaultBeams);
}

export interface GenerationFault {
  readonly field: keyof Generation;
  readonly message: string;
}

/** What doesn't go together, the first of each kind. */
export function generationFaults(asked: Generation): GenerationFault[] {
  const beams = beamsOf(asked);
  const { n = 1, stop, min_new_tokens: least, max_new_tokens: most = limits.newTokens } = asked;
  const faults: GenerationFault[] = [];
  if (least > most) faults.push({ field: "min_new_tokens", message: "is larger than max_new_tokens" });
  if (beams > 1) {
    const sampled = samplingFields.find((field) => asked[field] !== undefined);
    if (sampled !== undefined) faults.push({ field: sampled, message: `samples, which goes with one beam: num_beams is ${beams}` });
    if (stop !== undefined) faults.push({ field: "stop", message: `goes with one beam: num_beams is ${beams}` });
    if (n > beams) faults.push({ field: "n", message: `is more than num_beams, ${beams}: the best beams are the texts` });
  } else {
    const searched = beamFields.find((field) => asked[field] !== undefined);
    if (searched !== undefined) faults.push({ field: searched, message: "goes with beams: num_beams is 1" });
    if (n > 1 && !isSampled(asked)) faults.push({ field: "n", message: "is more than 1, but one beam without sampling has one text" });
  }
  return faults;
}

/** The fields that are given though a task generates nothing. */
export function generationGiven(asked: Generation): (keyof Generation)[] {
  const isGiven = (field: keyof Generation): boolean => asked[field] !== undefined && (field !== "min_new_tokens" || asked[field] !== 0);
  return generation.keyof().options.filter(isGiven);
}
