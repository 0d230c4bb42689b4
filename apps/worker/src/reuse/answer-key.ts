/**
 * What decides an answer, as hashes: what a batch's items have in common (its recipe), and what each shows and asks (its key). Owns that nothing is left out: with equal
 * recipes and keys the engine would say the same. A line of the results holds all that its key is made of, so that what is found is compared and never believed.
 */
import { hash } from "node:crypto";
import { isSampled, lineSucceeded, type BatchRequest, type ResultLine } from "@flamboyance/contracts";

/** Grows when the same recipe and key would mean another answer than before (pixels, tokens, a decoder or a default of the generation changed): earlier answers are found no more. */
const version = 1;

/** `prefix`: the hash of the examples, words and images' bytes (`prefixHash`). The tenant is part of it: nobody is answered with another's. */
export function recipeOf(request: BatchRequest, prefix: string): string {
  const { tenant, model, task, pixels, frames = null, rank_by: rankBy = "mean", generation } = request;
  const decided = task === "classify" ? rankBy : Object.entries(generation).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return hash("sha256", JSON.stringify([version, tenant, model.key, task, prefix, pixels, frames, decided]));
}

/** What one item shows and asks. */
export interface Asked {
  readonly customId: string | null;
  readonly images: readonly { readonly sha256: string; readonly frames?: number | undefined }[];
  /** `promptHash`: the examples, the item's words and its labels. */
  readonly prompt: string;
}

/** 32 bytes. */
export function answerKey({ task, generation }: BatchRequest, { customId, images, prompt }: Asked): Buffer {
  // What is sampled is drawn by the item's own name.
  const name = task !== "classify" && isSampled(generation) ? customId : null;
  return hash("sha256", JSON.stringify([images.map(({ sha256, frames = null }) => [sha256, frames]), prompt, name]), "buffer");
}

/** The key that a line of such a batch answers; null for one that holds no answer, or doesn't say to what. */
export function keyOfLine(request: BatchRequest, line: ResultLine): Buffer | null {
  const { custom_id: customId, flamingo } = line;
  if (!lineSucceeded(line) || flamingo === undefined || flamingo.prompt_sha256 === null) return null;
  const images: { sha256: string; frames?: number | undefined }[] = [];
  for (const { sha256, frames } of flamingo.images) {
    if (sha256 === null) return null;
    images.push({ sha256, frames });
  }
  return answerKey(request, { customId, images, prompt: flamingo.prompt_sha256 });
}
