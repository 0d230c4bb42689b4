/**
 * One item's way: bytes → pixels → prompt → engine → its line. Owns the order and what counts as the item's own fault (a line);
 * everything else is thrown and the chunk runs again.
 */
import { failedLine, succeededLine, type BatchRequest, type Item, type ResultLine, type Tally } from "@flamboyance/contracts";
import type { Preprocessing } from "@flamboyance/model";
import type { Storage } from "@flamboyance/storage";
import { labelCompletion, textCompletion, type Completion } from "./completion.ts";
import type { Decoder } from "./decode.ts";
import type { Engine, EnginePrompt } from "./engine.ts";
import { isOwnFault } from "./fate.ts";
import { fetchImage } from "./fetch.ts";
import { generationOptions } from "./generation.ts";
import { loadMedia, sourcesOf, type Source } from "./media.ts";
import type { Metrics } from "./metrics.ts";
import type { OpenBatch } from "./open-batches.ts";
import type { PixelCache } from "./pixel-cache.ts";
import { labelsOf, queryText } from "./prompt.ts";
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
  /** That one media may have. */
  readonly maxFrames: number;
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
    const stages = ({ frames, ...wanted }: Source) => ({
      fetch: async () => (await metrics.time("fetch", () => fetchImage(storage, wanted, owner, signal))).bytes,
      decode: (bytes: Uint8Array) =>
        metrics.time("decode", () => decoder.decode(bytes, { preprocessing: model.preprocessing, frames, pixels: request.pixels }, signal)),
    });
    const frames = await loadMedia(sourcesOf(item, request.frames, model.maxFrames), (source) =>
      pixelCache.get(request.id, source, () => readAhead.load(stages(source), signal), signal),
    );
    const prompt = { id: `${request.id}-${number}`, prefix: batch.prefix, text: queryText(request, item), media: [frames] };
    const completion = await metrics.time("engine", () => complete(model.engine, request, item, prompt, signal));
    const line = succeededLine(identity, { created: Math.floor(Date.now() / 1_000), model: request.model.name, ...completion });
    metrics.item(model.name, "ok");
    const { prompt_tokens, completion_tokens, prompt_tokens_details } = completion.usage;
    const { cached_tokens } = prompt_tokens_details;
    return { line, tally: { completed: 1, failed: 0, input_tokens: prompt_tokens, cached_tokens, output_tokens: completion_tokens } };
  } catch (error) {
    if (signal.aborted || !isOwnFault(error)) throw error;
    metrics.item(model.name, error.code);
    const tally = { completed: 0, failed: 1, input_tokens: 0, cached_tokens: 0, output_tokens: 0 };
    return { line: failedLine(identity, error.code, error.message), tally };
  }
}

async function complete(engine: Engine, request: BatchRequest, item: Item, prompt: EnginePrompt, signal: AbortSignal): Promise<Completion> {
  if (request.task === "classify") {
    const labels = labelsOf(request, item);
    return labelCompletion(labels, await engine.rank({ ...prompt, candidates: labels }, signal), request.rank_by ?? "mean");
  }
  // By the caller's own name for it: another batch with the seed, a retry of this one's failures, draws the same.
  const row = { ...prompt, generation: generationOptions(request), drawnAs: item.custom_id };
  return textCompletion(await engine.generate(row, signal));
}
