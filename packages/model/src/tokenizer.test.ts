import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isCoded } from "@flamboyance/contracts";
import { describe, expect, test } from "vitest";
import { readTokenizer } from "./import/tokenizer-file.ts";
import { openTokenizer, type Tokenizer } from "./tokenizer.ts";

const reference = join(import.meta.dirname, "../reference");

interface Expected {
  readonly model: { readonly language_model: string };
  readonly tokenizer: {
    readonly size: number;
    readonly special: Record<string, number>;
    readonly texts: readonly { text: string; ids: number[]; decoded: string; decoded_skip_special: string }[];
  };
  readonly cases: Record<string, { prompt: string; input_ids: number[]; generate: readonly { tokens: number[][]; text: string[] }[] }>;
}

const expectedOf = (name: string): Expected => JSON.parse(readFileSync(join(reference, name, "expected.json"), "utf8")) as Expected;

async function tokenizerOf(name: string): Promise<Tokenizer> {
  return openTokenizer((await readTokenizer(join(reference, name, expectedOf(name).model.language_model))).json);
}

describe.each(["mpt-qk-norm", "mpt", "neox-sequential", "neox-parallel", "video"])("%s", (name) => {
  test("has Flamingo's tokens where the reference has them", async () => {
    const tokenizer = await tokenizerOf(name);
    const { size, special } = expectedOf(name).tokenizer;
    expect(tokenizer.size).toBe(size);
    for (const [token, id] of Object.entries(special)) expect(tokenizer.idOf(token), token).toBe(id);
  });

  test("awkward strings become the reference's ids, and those its texts", async () => {
    const tokenizer = await tokenizerOf(name);
    for (const { text, ids, decoded, decoded_skip_special: skipped } of expectedOf(name).tokenizer.texts) {
      expect(tokenizer.encode(text), text).toEqual(ids);
      expect(tokenizer.decode(ids, { keepSpecialTokens: true })).toBe(decoded);
      expect(tokenizer.decode(ids)).toBe(skipped);
    }
  });

  test("prompts become the reference's ids, and its generations its texts", async () => {
    const tokenizer = await tokenizerOf(name);
    for (const { prompt, input_ids: ids, generate } of Object.values(expectedOf(name).cases)) {
      expect(tokenizer.encode(prompt)).toEqual(ids);
      for (const { tokens, text } of generate) expect(tokens.map((each) => tokenizer.decode(each))).toEqual(text);
    }
  });
});

test.each([
  // From tokenizers 0.13.3; JavaScript's own \s counts U+FEFF as white space and leaves out U+0085.
  ["😀\ufeff's", [174, 255, 248, 224, 173, 121, 125, 8, 84]],
  ["\u0085's", [128, 229, 304]],
])("white space is Unicode's: %j", async (text, ids) => {
  expect((await tokenizerOf("mpt")).encode(text)).toEqual(ids);
});

test("bytes of a character that was cut off decode to replacement characters, never to an error", async () => {
  const tokenizer = await tokenizerOf("mpt");
  const ids = tokenizer.encode("😀");
  expect(tokenizer.decode(ids)).toBe("😀");
  expect(tokenizer.decode(ids.slice(0, 2))).toBe("\ufffd");
  expect(tokenizer.decode([])).toBe("");
});

test("texts come back as they were, spaces before stops and contractions too", async () => {
  const tokenizer = await tokenizerOf("mpt");
  for (const text of [" it 's a dog , isn 't it ? ", "no .", "  ends with two  "])
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
});

test("what isn't a tokenizer.json is corrupt", () => {
  for (const text of ["", "[]", '{"model":{}}'])
    expect(() => openTokenizer(text)).toThrow(expect.toSatisfy((error: unknown) => isCoded(error, "model_piece_corrupt")));
});
