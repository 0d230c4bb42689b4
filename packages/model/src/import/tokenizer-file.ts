/**
 * A language model's tokenizer.json with Flamingo's own tokens added: `<|endofchunk|>`, `<image>`, then `<PAD>` where it has no pad token.
 * Owns their ids, which the checkpoint's embeddings depend on; refuses tokenizers that come in other files.
 */
import { join } from "node:path";
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";
import { endOfChunkToken, imageToken, padToken } from "../tokenizer.ts";
import { isThere, readJson } from "./piece-file.ts";

export interface SpecialTokens {
  /** The id of `<|endofchunk|>`: ends an example's text; has nothing to do with the service's chunks of items. */
  readonly endOfChunk: number;
  readonly image: number;
  readonly pad: number;
  readonly endOfText: number | null;
}

export interface TokenizerPiece {
  /** Ready to be written as tokenizer.json. */
  readonly json: string;
  readonly size: number;
  readonly specialTokens: SpecialTokens;
}

export async function readTokenizer(folder: string): Promise<TokenizerPiece> {
  const path = join(folder, "tokenizer.json");
  const parsed = tokenizerSchema.safeParse(await readJson(path));
  if (!parsed.success) throw new CodedError("model_piece_corrupt", `${path}: ${z.prettifyError(parsed.error)}`);
  const tokenizer = parsed.data;
  const named = await readNamedTokens(folder);

  // As Hugging Face loads it: tokens that its configuration names come first if they are new, then Flamingo's in this order.
  for (const token of Object.values(named)) if (token !== null) addSpecial(tokenizer, token);
  const endOfChunk = addSpecial(tokenizer, endOfChunkToken);
  const image = addSpecial(tokenizer, imageToken);
  const pad = addSpecial(tokenizer, named.pad_token ?? padToken);
  const endOfText = named.eos_token === null ? null : addSpecial(tokenizer, named.eos_token);
  return { json: JSON.stringify(tokenizer), size: nextId(tokenizer), specialTokens: { endOfChunk, image, pad, endOfText } };
}

const id = z.int().nonnegative();
const addedTokenSchema = z.looseObject({ id, content: z.string(), special: z.boolean() });
const tokenizerSchema = z.looseObject({
  added_tokens: z.array(addedTokenSchema).default([]),
  model: z.looseObject({ vocab: z.record(z.string(), id, "only vocabularies of token → id are known") }),
});
type TokenizerJson = z.infer<typeof tokenizerSchema>;

/** The id of a special token, which it keeps if it has one; else it takes the next free id. */
function addSpecial(tokenizer: TokenizerJson, content: string): number {
  const known = tokenizer.added_tokens.find((token) => token.content === content);
  if (known !== undefined) {
    known.special = true;
    return known.id;
  }
  const inVocabulary = Object.hasOwn(tokenizer.model.vocab, content) ? tokenizer.model.vocab[content] : undefined;
  const taken = inVocabulary ?? nextId(tokenizer);
  tokenizer.added_tokens.push({ id: taken, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true });
  return taken;
}

/** One past the highest id of vocabulary and added tokens. */
function nextId(tokenizer: TokenizerJson): number {
  let next = 0;
  for (const used of Object.values(tokenizer.model.vocab)) next = Math.max(next, used + 1);
  for (const token of tokenizer.added_tokens) next = Math.max(next, token.id + 1);
  return next;
}

const namedToken = z
  .union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)])
  .nullish()
  .transform((token) => token ?? null);
const namedTokensSchema = z.object({ bos_token: namedToken, eos_token: namedToken, unk_token: namedToken, pad_token: namedToken });
type NamedTokens = z.infer<typeof namedTokensSchema>;

/** The tokens that tokenizer_config.json or, where that is silent, special_tokens_map.json name. */
async function readNamedTokens(folder: string): Promise<NamedTokens> {
  const named: NamedTokens = { bos_token: null, eos_token: null, unk_token: null, pad_token: null };
  for (const file of ["tokenizer_config.json", "special_tokens_map.json"]) {
    const path = join(folder, file);
    if (!(await isThere(path))) continue;
    const parsed = namedTokensSchema.safeParse(await readJson(path));
    if (!parsed.success) throw new CodedError("model_piece_corrupt", `${path}: ${z.prettifyError(parsed.error)}`);
    for (const key of ["bos_token", "eos_token", "unk_token", "pad_token"] as const) named[key] ??= parsed.data[key];
  }
  return named;
}
