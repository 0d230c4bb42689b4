/**
 * One item's way: bytes → pixels → prompt → engine → its line. Owns the order and what counts as the item's own fault (a line);
 * everything else is thrown and the chunk runs again.
 */
import {
  CodedError,
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
import type { Engine, EnginePrompt } from "./engine.ts";
import { isOwnFault } from "./fate.ts";
import { generationOptions } from "./generation.ts";
import { ItemClock } from "./item-clock.ts";
import { loadImage, peekImage, type ImageDependencies } from "./load-image.ts";
import { loadMedia, sourcesOf, type LoadedImage } from "./media.ts";
import type { OpenBatch } from "./open-batches.ts";
import type { PixelCache } from "./pixel-cache.ts";
import { labelsOf, promptHash, queryText } from "./prompt.ts";
import { noTally } from "./result-tally.ts";
import { answersFor, reusedLine } from "./reuse/item-answers.ts";
import type { EarlierAnswers } from "./reuse/lenders.ts";
import { shownImage } from "./web-image.ts";

export interface ItemDependencies extends ImageDependencies {
  readonly pixelCache: PixelCache;
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

/** A batch as one chunk runs it. */
export interface RunningBatch extends OpenBatch {
  /** Null where the batch doesn't ask for them. */
  readonly earlier: EarlierAnswers | null;
}

/** Rejects with passing faults and with the signal's reason. */
export async function runItem(
  dependencies: ItemDependencies,
  model: ItemModel,
  batch: RunningBatch,
  { item, number }: { readonly item: Item; readonly number: number },
  signal: AbortSignal,
): Promise<ItemResult> {
  const { pixelCache, metrics } = dependencies;
  const { request } = batch;
  const identity = { batchId: request.id, item: number, customId: item.custom_id };
  const clock = new ItemClock();
  const sources = sourcesOf(item, request.frames, model.maxFrames);
  const answers = batch.earlier === null ? null : answersFor(batch, batch.earlier, { item, sources }, signal);
  const provenance = (images: readonly Omit<LoadedImage, "frames">[], prompt: string | null): Provenance => ({
    images: sources.map(({ image, etag, frames }, at) => ({
      image: shownImage(image),
      etag: images[at]?.etag ?? etag,
      sha256: images[at]?.sha256 ?? null,
      ...(frames === null ? {} : { frames }),
    })),
    precision: precisionOf(request.model),
    prompt_sha256: prompt,
    timings: clock.timings(),
    worker: dependencies.worker,
  });
  try {
    const load = { model, request, clock };
    const { frames, images } = await loadMedia(sources, async (source) => {
      if (answers !== null && sources.length === 1) {
        const answered = async (sha256: string) => (await answers.find([{ sha256 }])) !== null;
        const seen = await pixelCache.peek(request.id, source, () => peekImage(dependencies, load, source, answered, signal), signal);
        // Not decoded for this item's answer, or for that of another that shows the image.
        if (seen.frames !== null || (await answered(seen.sha256))) return seen;
      }
      return pixelCache.get(request.id, source, () => loadImage(dependencies, load, source, signal), signal);
    });
    const earlier = (await answers?.find(images)) ?? null;
    if (answers !== null && earlier !== null) {
      const line = reusedLine(request, identity, earlier, provenance(images, answers.prompt));
      if (line !== null) {
        metrics.item(model.name, "ok");
        // No token was made for it.
        return { line, tally: { ...noTally, completed: 1 } };
      }
    }
    if (frames === null) throw new CodedError("internal_error", `${request.id}: item ${number} has neither pixels nor an answer`);
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
