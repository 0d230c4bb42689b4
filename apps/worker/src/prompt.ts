/** A batch's words as the model's prompts: its examples once, its items' queries one by one. Owns how the wire's fields become the prompt's. */
import type { BatchRequest, Item, SupportExample } from "@flamboyance/contracts";
import { buildPrompt, type PromptExample } from "@flamboyance/model";

/** The few-shot prefix, one passage per example. `images[i]` stands for example i's image; null where it has none. Throws invalid_request for texts that no prompt can hold. */
export function examplePassages<Image>(
  request: BatchRequest,
  images: readonly (Image | null)[],
): { text: string; images: readonly Image[] }[] {
  const examples = request.examples.map((example, index) => solved(example, images[index] ?? null));
  // The query plays no part in the examples' passages.
  const { examples: passages } = buildPrompt<Image | null>(request.task, examples, { image: null, question: "" });
  return passages.map(({ text, images: own }) => ({ text, images: own.filter((image) => image !== null) }));
}

/** The unsolved query of one item. Throws invalid_request for a question that no prompt can hold. */
export function queryText(request: BatchRequest, { question }: Pick<Item, "question">): string {
  const query = question === null ? { image: null } : { image: null, question };
  return buildPrompt(request.task, [], query).query.text;
}

function solved<Image>(example: SupportExample, image: Image | null): PromptExample<Image | null> {
  const words = "text" in example ? { answer: example.text } : { question: example.question, answer: example.answer };
  return image === null ? words : { ...words, image };
}
