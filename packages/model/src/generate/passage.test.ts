import { describe, expect, it } from "vitest";
import { planPrefix, tokenisePassage, type PassageRules } from "./passage.ts";

// One token per character, the special ones being single.
const rules: PassageRules = {
  encode: (text) =>
    [...text.matchAll(/<image>|<\|endofchunk\|>|./gsu)].map(([piece]) =>
      piece === "<image>" ? 1 : piece === "<|endofchunk|>" ? 2 : (piece.codePointAt(0) ?? 0),
    ),
  imageToken: 1,
  pixelCount: 3,
  maxFrames: 2,
};
const image = (value: number): Float32Array[] => [Float32Array.of(value, value, value)];

describe("a passage", () => {
  it("lets a token see the latest media up to and with its own <image>, and none before the first", () => {
    expect(tokenisePassage({ text: "a<image>b<image>c", media: [image(1), image(2)] }, rules).sees).toEqual([null, 0, 0, 1, 1]);
  });

  it("refuses another number of media than of <image>", () => {
    expect(() => tokenisePassage({ text: "<image>", media: [] }, rules)).toThrow(expect.objectContaining({ code: "invalid_request" }));
    expect(() => tokenisePassage({ text: "", media: [image(1)] }, rules)).toThrow(expect.objectContaining({ code: "invalid_request" }));
  });

  it("refuses media without frames, with too many, or of another size", () => {
    for (const media of [[], [...image(1), ...image(2), ...image(3)], [Float32Array.of(1)]]) {
      expect(() => tokenisePassage({ text: "<image>", media: [media] }, rules)).toThrow(
        expect.objectContaining({ code: "invalid_request" }),
      );
    }
  });

  it("knows equal media by their pixels", () => {
    const { media } = tokenisePassage({ text: "<image><image><image>", media: [image(1), image(2), image(1)] }, rules);
    expect(media[0]?.key).toBe(media[2]?.key);
    expect(media[0]?.key).not.toBe(media[1]?.key);
  });
});

describe("a prefix", () => {
  it("ends behind its last special token; the rest is read with each row", () => {
    const plan = planPrefix([{ text: "<image>red<|endofchunk|>Now: ", media: [image(1)] }], rules);
    expect([plan.tokens.at(-1), plan.tail]).toEqual([2, "Now: "]);
  });

  it("is all tail where it holds no special token", () => {
    expect(planPrefix([{ text: "Look: ", media: [] }], rules)).toMatchObject({ tokens: [], tail: "Look: " });
  });

  it("has the same key for equal tokens and media, and another for other ones", () => {
    const key = (text: string, value: number): string => planPrefix([{ text, media: [image(value)] }], rules).key;
    expect(key("<image>a<|endofchunk|>", 1)).toBe(key("<image>a<|endofchunk|>", 1));
    expect(key("<image>a<|endofchunk|>", 1)).not.toBe(key("<image>a<|endofchunk|>", 2));
    expect(key("<image>a<|endofchunk|>", 1)).not.toBe(key("<image>b<|endofchunk|>", 1));
  });
});
