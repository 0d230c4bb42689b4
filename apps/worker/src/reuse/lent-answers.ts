/**
 * What lets later batches find a batch's answers: the index of its output, and the object in `reuse/` that names the batch. Owns their order: the index first, and both
 * before the end, without which nobody believes them. A second finalizer writes the same bytes.
 */
import type { BatchRequest, End, Plan, ResultLine } from "@flamboyance/contracts";
import { lenderKey, type FinalKeys, type Storage } from "@flamboyance/storage";
import { prefixHash } from "../prompt.ts";
import { AnswerIndexFile } from "./answer-index.ts";
import { keyOfLine, recipeOf } from "./answer-key.ts";

/** To be disposed of, whether or not it was finished: it holds much while it is filled. */
export interface LentAnswers extends Disposable {
  /** Every line of output.jsonl, in order, with its text there. */
  add(line: ResultLine, text: string): Promise<void>;
  /** Null where there are none: such a batch would take the place of one that has some. */
  finish(): Promise<NonNullable<End["lends"]> | null>;
}

export function openLentAnswers(
  { storage, bucket }: { readonly storage: Storage; readonly bucket: string },
  request: BatchRequest,
  plan: Plan,
  keys: FinalKeys,
  signal: AbortSignal,
): LentAnswers {
  const recipe = recipeOf(request, prefixHash(request, plan.examples));
  const index = new AnswerIndexFile(storage, { bucket, keyOf: (segment) => keys.answers(segment) }, signal);
  let outputBytes = 0;
  return {
    add: async (line, text) => {
      const offsetBytes = outputBytes;
      outputBytes += Buffer.byteLength(text);
      // A copy's answer is found where it was copied from.
      const key = line.flamingo?.copied_from === undefined ? keyOfLine(request, line) : null;
      if (key !== null) await index.add(key, offsetBytes, text);
    },
    finish: async () => {
      const entries = await index.finish();
      if (entries === 0) return null;
      const key = lenderKey(recipe, request);
      await storage.write({ bucket, key }, "", { contentType: "text/plain", signal });
      return { recipe, key, entries, output_bytes: outputBytes };
    },
    [Symbol.dispose]: () => index[Symbol.dispose](),
  };
}
