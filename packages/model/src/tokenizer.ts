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
  const size = Math.max(...library.get_vocab().values()) + 1;
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
