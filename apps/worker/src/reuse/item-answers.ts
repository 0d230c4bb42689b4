/** What earlier batches answer to one item, and the line that it makes of it. Owns that each look is one, however often the item asks. */
import { succeededLine, type BatchRequest, type Item, type ItemIdentity, type Provenance, type ResultLine } from "@flamboyance/contracts";
import type { Source } from "../media.ts";
import type { OpenBatch } from "../open-batches.ts";
import { itemPromptHash } from "../prompt.ts";
import type { EarlierAnswers } from "./lenders.ts";

export interface ItemAnswers {
  /** The hash of its prompt. */
  readonly prompt: string;
  /** For the images that it shows, in their order; null where there is none. */
  find(images: readonly { readonly sha256: string }[]): Promise<ResultLine | null>;
}

/** Null where no prompt can hold the item's words: it says so when it runs. */
export function answersFor(
  { request, prefixHash }: OpenBatch,
  earlier: EarlierAnswers,
  { item, sources }: { readonly item: Item; readonly sources: readonly Source[] },
  signal: AbortSignal,
): ItemAnswers | null {
  const prompt = itemPromptHash(request, prefixHash, item);
  if (prompt === null) return null;
  const looked = new Map<string, Promise<ResultLine | null>>();
  return {
    prompt,
    find: (images) => {
      const shown = images.map(({ sha256 }, at) => ({ sha256, frames: sources[at]?.frames ?? undefined }));
      const name = shown.map(({ sha256 }) => sha256).join();
      const found = looked.get(name) ?? earlier.find({ customId: item.custom_id, images: shown, prompt }, signal);
      looked.set(name, found);
      return found;
    },
  };
}

/** The answer of an earlier batch's line as an item's own: with its own name, image and time. Null for a line without one. */
export function reusedLine({ model }: BatchRequest, identity: ItemIdentity, line: ResultLine, own: Provenance): ResultLine | null {
  const body = line.response?.body;
  if (body === undefined || !("choices" in body)) return null;
  const { id: _id, object: _object, ...completion } = body;
  // Of the line that ran.
  const reused_from = line.flamingo?.reused_from ?? line.flamingo?.copied_from ?? line.id;
  return succeededLine(identity, { ...completion, model: model.name }, { ...own, reused_from });
}
