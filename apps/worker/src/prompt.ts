/** A batch's words as the model's prompts: its examples once, its items' queries one by one. Owns how the wire's fields become the prompt's. */
import { hash } from "node:crypto";
import type { BatchRequest, Item, Plan, SupportExample } from "@flamboyance/contracts";
import { buildPrompt, type PromptExample } from "@flamboyance/model";
import { isOwnFault } from "./fate.ts";

/** The few-shot prefix, one passage per example. `images[i]` stands for example i's image; null where it has none. Throws invalid_request for texts that no prompt can hold. */
export function examplePassages<Image>(
  request: BatchRequest,
  images: readonly (Image | null)[],
): { text: string; images: readonly Image[] }[] {
  const examples = request.examples.map((example, index) => solved(request, example, images[index] ?? null));
  // The query plays no part in the examples' passages.
  const { examples: passages } = buildPrompt<Image | null>(request.task, examples, { image: null, question: "" });
  return passages.map(({ text, images: own }) => ({ text, images: own.filter((image) => image !== null) }));
}

/** What all prompts of a batch have in common, as a hash: the examples' words, in the order of their images (`shown`: their bytes' hashes). */
export function prefixHash(request: BatchRequest, shown: Plan["examples"]): string {
  const texts = examplePassages(
    request,
    request.examples.map(({ image, images }) => image ?? images ?? null),
  ).map(({ text }) => text);
  return sha256([request.task, texts, shown]);
}

/** Equal where a batch's examples, an item's words and its labels are. */
export function promptHash(prefix: string, text: string, labels: readonly string[] | null): string {
  return sha256([prefix, text, labels]);
}

/** That of an item; null where no prompt can hold its words: the item says so itself when it runs. */
export function itemPromptHash(request: BatchRequest, prefix: string, item: Item): string | null {
  try {
    return promptHash(prefix, queryText(request, item), request.task === "classify" ? labelsOf(request, item) : null);
  } catch (error) {
    if (!isOwnFault(error)) throw error;
    return null;
  }
}

const sha256 = (parts: unknown): string => hash("sha256", JSON.stringify(parts));

/** The unsolved query of one item. Throws invalid_request for a question or prompt that no prompt can hold. */
export function queryText(request: BatchRequest, item: Pick<Item, "question" | "prompt">): string {
  const asked = request.task === "prompt" ? (item.prompt ?? request.prompt) : (item.question ?? undefined);
  return buildPrompt(request.task, [], { image: null, ...(asked === undefined ? {} : { question: asked }) }).query.text;
}

/** What the item may be called, its own labels or the batch's. Throws invalid_request for one that no prompt can hold. */
export function labelsOf(request: BatchRequest, item: Pick<Item, "labels">): readonly string[] {
  const labels = item.labels ?? request.labels ?? [];
  // As examples' answers they pass the one check there is.
  buildPrompt(
    "classify",
    labels.map((answer) => ({ answer })),
    { image: null },
  );
  return labels;
}

function solved<Image>(request: BatchRequest, example: SupportExample, image: Image | null): PromptExample<Image | null> {
  const words =
    "text" in example ? { answer: example.text, ...promptOf(request, example) } : { question: example.question, answer: example.answer };
  return image === null ? words : { ...words, image };
}

function promptOf(request: BatchRequest, example: { readonly prompt?: string | undefined }): { readonly question?: string } {
  const prompt = example.prompt ?? request.prompt;
  return prompt === undefined ? {} : { question: prompt };
}
