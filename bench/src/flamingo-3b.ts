/**
 * A random model of OpenFlamingo-3B's shape: ViT-L/14, 24 layers of 2,048, every layer cross-attending. Owns what the bench changes of the shape, and a tokenizer whose every letter is
 * one token, so that a prompt's length is its text's; refuses to say anything sensible.
 */
import type { Architecture } from "@flamboyance/model";
import { findPreset, type Preset } from "@flamboyance/model/presets";

const released = findPreset("openflamingo-3b-vitl-mpt1b");
if (released === undefined) throw new Error("the 3B model's preset is gone");

/** As released, but for the norm of queries and keys: transformers' MPT, which the peer runs, has none. */
export const architecture3B: Architecture = {
  ...released.architecture,
  decoder: { ...released.architecture.decoder, queryKeyNorm: false },
};
export const specialTokens: Preset["tokenizer"]["specialTokens"] = released.tokenizer.specialTokens;

/** Byte-level without merges: one token a letter; the rest of the vocabulary is never in a text. */
export function letterTokenizer(): string {
  const { vocabularySize } = architecture3B.decoder;
  const { endOfChunk, image, pad } = specialTokens;
  const letters = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index));
  const fillers = Array.from({ length: vocabularySize - 3 - letters.length }, (_, index) => `filler${index}`);
  const added = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return JSON.stringify({
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [added(endOfChunk, "<|endofchunk|>"), added(image, "<image>"), added(pad, "<PAD>")],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries([...letters, ...fillers].map((token, id) => [token, id])),
      merges: [],
    },
  });
}
