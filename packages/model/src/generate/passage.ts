/**
 * Text and media as the loop takes them: token ids, and for each token the media it sees. Owns the rule of media time (a token sees the latest `<image>`
 * up to and with itself) and the cut between prefix and row; refuses pixels beyond their hash.
 */
import { createHash } from "node:crypto";
import { CodedError } from "@flamboyance/contracts";
import type { Media, Passage } from "../model.ts";
import { endOfChunkToken, imageToken } from "../tokenizer.ts";

export interface HashedMedia {
  /** sha256 of the frames' pixels: equal content is encoded once. */
  readonly key: string;
  readonly frames: Media;
}

export interface TokenisedPassage {
  readonly tokens: readonly number[];
  /** Per token an index into `media`, or null before the first. */
  readonly sees: readonly (number | null)[];
  readonly media: readonly HashedMedia[];
}

export interface PrefixPlan extends TokenisedPassage {
  readonly key: string;
  /** Text after the last special token: its tokens depend on what follows, so it is read with each row. */
  readonly tail: string;
}

export interface PassageRules {
  readonly encode: (text: string) => readonly number[];
  readonly imageToken: number;
  readonly pixelCount: number;
  readonly maxFrames: number;
}

export function tokenisePassage({ text, media }: Passage, rules: PassageRules): TokenisedPassage {
  const tokens = rules.encode(text);
  let latest: number | null = null;
  const sees = tokens.map((token) => {
    if (token === rules.imageToken) latest = latest === null ? 0 : latest + 1;
    return latest;
  });
  const images = latest === null ? 0 : latest + 1;
  if (images !== media.length) {
    throw new CodedError("invalid_request", `the text has ${images} <image> where ${media.length} media are given`, { param: "media" });
  }
  return { tokens, sees, media: media.map((frames) => hashMedia(frames, rules)) };
}

/**
 * Examples joined to one prefix. Special tokens split a text before anything else does, so up to the last of them the prefix has the same tokens
 * whatever follows; the rest becomes `tail`.
 */
export function planPrefix(examples: readonly Passage[], rules: PassageRules): PrefixPlan {
  const text = examples.map((example) => example.text).join("");
  const ends = [endOfChunkToken, imageToken]
    .filter((special) => text.includes(special))
    .map((special) => text.lastIndexOf(special) + special.length);
  const end = Math.max(0, ...ends);
  const passage = tokenisePassage({ text: text.slice(0, end), media: examples.flatMap((example) => example.media) }, rules);
  const hash = createHash("sha256").update(JSON.stringify([passage.tokens, passage.media.map(({ key }) => key)]));
  return { ...passage, key: hash.digest("hex"), tail: text.slice(end) };
}

function hashMedia(frames: Media, rules: PassageRules): HashedMedia {
  if (frames.length === 0 || frames.length > rules.maxFrames) {
    throw new CodedError("invalid_request", `a media has ${frames.length} frames where 1 to ${rules.maxFrames} are taken`, {
      param: "media",
    });
  }
  const hash = createHash("sha256");
  for (const frame of frames) {
    if (frame.length !== rules.pixelCount) {
      throw new CodedError("invalid_request", `a frame has ${frame.length} numbers where ${rules.pixelCount} are due`, { param: "media" });
    }
    hash.update(new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength));
  }
  return { key: hash.digest("hex"), frames };
}
