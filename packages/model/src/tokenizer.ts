/**
 * Text to token ids and back, from a model folder's tokenizer.json. The only file that imports the tokenizer library; owns where it differs from Hugging Face's own
 * (the original is in Rust, this one in JavaScript). Refuses to add tokens that aren't in the text: prompts are pieced together elsewhere.
 */
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";

export interface Tokenizer {
  /** Ids run from 0 to size − 1. */
  readonly size: number;
  /** Special tokens that the text spells out, as `<image>`, become their ids; none is added. */
  encode(text: string): number[];
  /** Nothing is cleaned up or stripped; special tokens are skipped unless asked for. */
  decode(ids: readonly number[], options?: { keepSpecialTokens?: boolean }): string;
  idOf(token: string): number | undefined;
}

export const endOfChunkToken = "<|endofchunk|>";
export const imageToken = "<image>";
export const padToken = "<PAD>";

/** Opens the text of a tokenizer.json; one that can't be understood is `model_piece_corrupt`. */
export function openTokenizer(tokenizerJson: string): Tokenizer {
  const library = openLibrary(tokenizerJson);
  splitAtUnicodeSpace(library.pre_tokenizer);
  let size = 0;
  for (const id of library.get_vocab().values()) size = Math.max(size, id + 1);
  return {
    size,
    encode: (text) => library.encode(text, { add_special_tokens: false }).ids,
    decode: (ids, options = {}) => {
      // The library refuses an empty list.
      if (ids.length === 0) return "";
      return library.decode([...ids], { skip_special_tokens: options.keepSpecialTokens !== true, clean_up_tokenization_spaces: false });
    },
    idOf: (token) => library.token_to_id(token),
  };
}

function openLibrary(tokenizerJson: string): LibraryTokenizer {
  try {
    return new LibraryTokenizer(z.record(z.string(), z.unknown()).parse(JSON.parse(tokenizerJson)), {});
  } catch (cause) {
    throw new CodedError("model_piece_corrupt", "tokenizer.json can't be understood", { cause });
  }
}

/** GPT-2's split with Unicode's white space, as the original has it: JavaScript's `\s` counts U+FEFF and leaves out U+0085. Otherwise the library's own pattern. */
const splitPattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** The library's classes aren't in its types' reach: a ByteLevel pre-tokenizer is known by its table of bytes, a Sequence by its parts. */
function splitAtUnicodeSpace(preTokenizer: unknown): void {
  // Its instances can be called, so they are functions.
  if ((typeof preTokenizer !== "object" && typeof preTokenizer !== "function") || preTokenizer === null) return;
  if ("byte_encoder" in preTokenizer && "pattern" in preTokenizer) Object.assign(preTokenizer, { pattern: splitPattern });
  if ("tokenizers" in preTokenizer && Array.isArray(preTokenizer.tokenizers))
    for (const part of preTokenizer.tokenizers) splitAtUnicodeSpace(part);
}
