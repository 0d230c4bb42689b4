import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isCoded } from "@flamboyance/contracts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openTokenizer } from "../tokenizer.ts";
import { readTokenizer } from "./tokenizer-file.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tokenizer-"));
});
afterEach(() => rm(folder, { recursive: true }));

const added = (id: number, content: string, special = true) => ({
  id,
  content,
  special,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
});
async function write(
  tokens: readonly object[],
  config: object | null = null,
  vocab: Record<string, number> = { a: 0, b: 1, c: 2 },
): Promise<void> {
  const model = { type: "BPE", vocab, merges: [], unk_token: null };
  const parts = {
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false },
    post_processor: null,
    decoder: { type: "ByteLevel" },
  };
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify({ added_tokens: tokens, model, ...parts }));
  if (config !== null) await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(config));
}

test("end of chunk, image and pad follow the vocabulary in this order", async () => {
  await write([]);
  expect(await readTokenizer(folder)).toMatchObject({ size: 6, specialTokens: { endOfChunk: 3, image: 4, pad: 5, endOfText: null } });
});

test("they follow added tokens too", async () => {
  await write([added(7, "<|endoftext|>")], { eos_token: "<|endoftext|>" });
  expect((await readTokenizer(folder)).specialTokens).toEqual({ endOfChunk: 8, image: 9, pad: 10, endOfText: 7 });
});

test("a pad token of its own is kept, however it is written", async () => {
  await write([added(3, "<p>")], { pad_token: { content: "<p>" } });
  expect(await readTokenizer(folder)).toMatchObject({ size: 6, specialTokens: { endOfChunk: 4, image: 5, pad: 3 } });
});

test("a pad token that is named but new comes before Flamingo's own", async () => {
  await write([]);
  await writeFile(join(folder, "special_tokens_map.json"), JSON.stringify({ pad_token: "<p>" }));
  expect((await readTokenizer(folder)).specialTokens).toEqual({ endOfChunk: 4, image: 5, pad: 3, endOfText: null });
});

test("tokens that are there already keep their ids and become special", async () => {
  await write([added(3, "<image>", false)]);
  const { json, specialTokens } = await readTokenizer(folder);
  expect(specialTokens).toMatchObject({ image: 3, endOfChunk: 4, pad: 5 });
  expect(openTokenizer(json).decode([0, 3, 1])).toBe("ab");
});

test("a vocabulary that isn't token → id is refused", async () => {
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify({ model: { vocab: [["a", 0.5]] } }));
  await expect(readTokenizer(folder)).rejects.toSatisfy((error) => isCoded(error, "model_piece_corrupt"));
});
