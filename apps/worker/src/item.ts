/**
 * One item's way: bytes → pixels → prompt → engine → its line. Owns the order and what counts as the item's own fault (a line);
 * everything else is thrown and the chunk runs again.
 */
import {
  failedLine,
  precisionOf,
  succeededLine,
  type BatchRequest,
  type Item,
  type Provenance,
  type ResultLine,
  type Tally,
} from "@flamboyance/contracts";
import type { Preprocessing } from "@flamboyance/model";
import { labelCompletion, textCompletion, type Completion } from "./completion.ts";
import type { Decoder } from "./decode.ts";
import type { Engine, EnginePrompt } from "./engine.ts";
import { isOwnFault } from "./fate.ts";
import { fetchImage, type ImageSources } from "./fetch.ts";
import { generationOptions } from "./generation.ts";
import { ItemClock } from "./item-clock.ts";
import { loadMedia, sourcesOf, type LoadedImage, type Source } from "./media.ts";
import type { Metrics } from "./metrics.ts";
import type { OpenBatch } from "./open-batches.ts";
import type { PixelCache } from "./pixel-cache.ts";
import { labelsOf, promptHash, queryText } from "./prompt.ts";
import type { ReadAhead } from "./read-ahead.ts";
import { noTally } from "./result-tally.ts";
import { shownImage } from "./web-image.ts";

export interface ItemDependencies extends ImageSources {
  readonly serviceBucket: string;
  readonly decoder: Decoder;
  readonly readAhead: ReadAhead;
  readonly pixelCache: PixelCache;
  readonly metrics: Metrics;
  /** This process, as its lines name it. */
  readonly worker: string;
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
  const { pixelCache, metrics } = dependencies;
  const { request } = batch;
  const identity = { batchId: request.id, item: number, customId: item.custom_id };
  const clock = new ItemClock();
  const sources = sourcesOf(item, request.frames, model.maxFrames);
  const provenance = (images: readonly Omit<LoadedImage, "frames">[], prompt: string | null): Provenance => ({
    images: sources.map(({ image, etag }, at) => ({
      image: shownImage(image),
      etag: images[at]?.etag ?? etag,
      sha256: images[at]?.sha256 ?? null,
    })),
    precision: precisionOf(request.model),
    prompt_sha256: prompt,
    timings: clock.timings(),
    worker: dependencies.worker,
  });
  try {
    const { frames, images } = await loadMedia(sources, (source) =>
      pixelCache.get(request.id, source, () => loadImage(dependencies, { model, request, clock }, source, signal), signal),
    );
    const labels = request.task === "classify" ? labelsOf(request, item) : null;
    const text = queryText(request, item);
    const prompt = { id: `${request.id}-${number}`, prefix: batch.prefix, text, media: [frames] };
    const completion = await metrics.time("engine", () =>
      clock.time("engine", () => complete(model.engine, request, item, { labels, prompt }, signal)),
    );
    const created = Math.floor(Date.now() / 1_000);
    const line = succeededLine(
      identity,
      { created, model: request.model.name, ...completion },
      provenance(images, promptHash(batch.prefixHash, text, labels)),
    );
    metrics.item(model.name, "ok");
    const { prompt_tokens, completion_tokens, prompt_tokens_details } = completion.usage;
    const { cached_tokens } = prompt_tokens_details;
    return { line, tally: { ...noTally, completed: 1, input_tokens: prompt_tokens, cached_tokens, output_tokens: completion_tokens } };
  } catch (error) {
    if (signal.aborted || !isOwnFault(error)) throw error;
    metrics.item(model.name, error.code);
    const tally = { ...noTally, failed: 1 };
    return { line: failedLine(identity, error.code, error.message, provenance([], null)), tally };
  }
}

/** For all items that show it at once, or soon after: the time is the first one's. */
async function loadImage(
  dependencies: ItemDependencies,
  { model, request, clock }: { readonly model: ItemModel; readonly request: BatchRequest; readonly clock: ItemClock },
  { frames: wanted, ...image }: Source,
  signal: AbortSignal,
): Promise<LoadedImage> {
  const { serviceBucket, decoder, readAhead, metrics } = dependencies;
  const owner = { access: request.access, serviceBucket };
  const look = { preprocessing: model.preprocessing, frames: wanted, pixels: request.pixels };
  const fetched = { etag: null as string | null };
  const decode = async (bytes: Uint8Array) => {
    const [frames, sha256] = await Promise.all([decoder.decode(bytes, look, signal), sha256Of(bytes)]);
    return { frames, sha256 };
  };
  const stages = {
    fetch: async () => {
      const { bytes, etag } = await metrics.time("fetch", () => clock.time("fetch", () => fetchImage(dependencies, image, owner, signal)));
      fetched.etag = etag;
      return bytes;
    },
    decode: (bytes: Uint8Array) => metrics.time("decode", () => clock.time("decode", () => decode(bytes))),
  };
  return { ...(await readAhead.load(stages, signal)), ...fetched };
}

/** Beside the main loop. */
async function sha256Of(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes))).toString("hex");
}

async function complete(
  engine: Engine,
  request: BatchRequest,
  item: Item,
  { labels, prompt }: { readonly labels: readonly string[] | null; readonly prompt: EnginePrompt },
  signal: AbortSignal,
): Promise<Completion> {
  if (labels !== null) {
    return labelCompletion(labels, await engine.rank({ ...prompt, candidates: labels }, signal), request.rank_by ?? "mean");
  }
  // By the caller's own name for it: another batch with the seed, a retry of this one's failures, draws the same.
  const row = { ...prompt, generation: generationOptions(request), drawnAs: item.custom_id };
  return textCompletion(await engine.generate(row, signal));
}
