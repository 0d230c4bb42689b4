/**
 * A random model of OpenFlamingo-3B's shape: ViT-L/14, 24 layers of 2,048, every layer cross-attending. Owns the shape and a tokenizer whose every letter is
 * one token, so that a prompt's length is its text's; refuses to say anything sensible.
 */
import type { Architecture } from "@flamboyance/model";

export const vocabularySize = 50_280;
const [endOfChunk, image, pad] = [vocabularySize - 3, vocabularySize - 2, vocabularySize - 1];
export const specialTokens = { endOfChunk, image, pad, endOfText: null };

export const architecture3B: Architecture = {
  vision: {
    imageSize: 224,
    patchSize: 14,
    width: 1024,
    layers: 24,
    heads: 16,
    mlpWidth: 4096,
    activation: "quick_gelu",
    embeddingWidth: 768,
  },
  resampler: { layers: 6, latents: 64, innerWidth: 512, feedForwardWidth: 4096, maxFrames: null },
  crossAttention: { every: 1, innerWidth: 512, feedForwardWidth: 8192 },
  decoder: {
    width: 2048,
    layers: 24,
    heads: 16,
    mlpWidth: 8192,
    vocabularySize,
    maxPositions: null,
    layerNormEps: 1e-5,
    softmaxScale: 128 ** -0.5,
    positions: { kind: "alibi", slopes: Array.from({ length: 16 }, (_, head) => 2 ** (-(head + 1) / 2)) },
    queryKeyNorm: false,
    residual: "sequential",
    tiedHead: true,
  },
};

/** Byte-level without merges: one token a letter; the rest of the vocabulary is never in a text. */
export function letterTokenizer(): string {
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
