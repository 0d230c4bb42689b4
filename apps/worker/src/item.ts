/**
 * One item's way: bytes → pixels → prompt → engine → its line. Owns the order and what counts as the item's own fault (a line);
 * everything else is thrown and the chunk runs again.
 */
import { failedLine, succeededLine, type Item, type ResultLine, type Tally } from "@flamboyance/contracts";
import type { Preprocessing } from "@flamboyance/model";
import type { Storage } from "@flamboyance/storage";
import type { Decoder } from "./decode.ts";
import type { Engine } from "./engine.ts";
import { isOwnFault } from "./fate.ts";
import { fetchImage } from "./fetch.ts";
import type { Metrics } from "./metrics.ts";
import type { OpenBatch } from "./open-batches.ts";
import type { PixelCache } from "./pixel-cache.ts";
import { queryText } from "./prompt.ts";
import type { ReadAhead } from "./read-ahead.ts";

export interface ItemDependencies {
  readonly storage: Storage;
  readonly serviceBucket: string;
  readonly decoder: Decoder;
  readonly readAhead: ReadAhead;
  readonly pixelCache: PixelCache;
  readonly metrics: Metrics;
}

/** The model that the item's batch asked for, open in this worker. */
export interface ItemModel {
  readonly name: string;
  readonly preprocessing: Preprocessing;
  readonly engine: Engine;
}

export interface ItemResult {
  readonly line: ResultLine;
  readonly tally: Tally;
}

/** Rejects with passing faults and with the signal's reason. */
export async function runItem(
  dependencies: ItemDependencies,
  model: ItemModel,
  batch: OpenBatch,
  { item, number }: { readonly item: Item; readonly number: number },
  signal: AbortSignal,
): Promise<ItemResult> {
  const { storage, serviceBucket, decoder, readAhead, pixelCache, metrics } = dependencies;
  const { request } = batch;
  const identity = { batchId: request.id, item: number, customId: item.custom_id };
  try {
    const owner = { buckets: request.buckets, serviceBucket };
    const stages = {
      fetch: () => metrics.time("fetch", () => fetchImage(storage, item.image, owner, signal)),
      decode: (bytes: Uint8Array) => metrics.time("decode", () => decoder.decode(bytes, model.preprocessing, signal)),
    };
    const pixels = await pixelCache.get(request.id, item.image, () => readAhead.load(stages, signal), signal);
    const row = {
      id: `${request.id}-${number}`,
      prefix: batch.prefix,
      text: queryText(request, item),
      media: [[pixels]],
      generation: { maxNewTokens: request.generation.max_new_tokens, minNewTokens: request.generation.min_new_tokens },
    };
    const answer = await metrics.time("engine", () => model.engine.generate(row, signal));
    const usage = {
      prompt_tokens: answer.promptTokens,
      completion_tokens: answer.newTokens,
      total_tokens: answer.promptTokens + answer.newTokens,
      prompt_tokens_details: { cached_tokens: answer.cachedTokens },
    };
    const message = { role: "assistant" as const, content: answer.text.trim(), refusal: null };
    const line = succeededLine(identity, {
      created: Math.floor(Date.now() / 1_000),
      model: request.model.name,
      choices: [{ index: 0, message, finish_reason: answer.finish, logprobs: null }],
      usage,
    });
    metrics.item(model.name, "ok");
    const { promptTokens, cachedTokens, newTokens } = answer;
    return { line, tally: { completed: 1, failed: 0, input_tokens: promptTokens, cached_tokens: cachedTokens, output_tokens: newTokens } };
  } catch (error) {
    if (signal.aborted || !isOwnFault(error)) throw error;
    metrics.item(model.name, error.code);
    const tally = { completed: 0, failed: 1, input_tokens: 0, cached_tokens: 0, output_tokens: 0 };
    return { line: failedLine(identity, error.code, error.message), tally };
  }
}
