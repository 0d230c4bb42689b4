/** What all layers of a decoder graph share: sizes that only the run knows, masks and positions. Owns the type; refuses computing any of it. */
import type { Architecture } from "../architecture.ts";
import type { Value } from "../onnx/graph-builder.ts";

export interface DecoderRun {
  readonly architecture: Architecture;
  /** A one-element vector. */
  readonly groups: Value;
  readonly sight: Sight;
  readonly mediaMask: MediaMask;
}

/** Who sees whom in self-attention, and how far away. */
export interface Sight {
  /** (heads, tokens, prefix), or null where the prefix needs none: it is seen whole by all. */
  readonly prefixBias: Value | null;
  /** Scores of the prefix's surplus values, which nobody sees: (heads, tokens, surplus). */
  readonly surplus: Value;
  /** (groups, heads or 1, group tokens, past). */
  readonly pastBias: Value;
  /** (groups or 1, heads or 1, group tokens, group tokens). */
  readonly newBias: Value;
  /** (tokens, 1, rotary width / 2) each; null with ALiBi. */
  readonly rotation: { readonly cosine: Value; readonly sine: Value } | null;
}

/** Which media a token sees. */
export interface MediaMask {
  /** (groups, 1, group tokens, media · latents). */
  readonly bias: Value;
  /** 1 for a token that sees a media, 0 for one that sees none: (tokens, 1). */
  readonly sees: Value;
}
