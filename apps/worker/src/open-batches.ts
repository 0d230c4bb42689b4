/**
 * The frozen facts of the batches that this worker runs: request, plan, and the few-shot prefix with its pixels.
 * Owns their bounded memory; each batch is read once per worker. Refuses to hold anything that changes: all of it was written before the plan was adopted.
 */
import { batchRequest, CodedError, plan as planSchema, type BatchRequest, type Plan } from "@flamboyance/contracts";
import type { Media, Passage } from "@flamboyance/model";
import { batchKeys, readJson, type Storage } from "@flamboyance/storage";
import type { Decoder } from "./decode.ts";
import type { PrefixSource } from "./engine.ts";
import type { ItemModel } from "./item.ts";
import { sourcesOf } from "./media.ts";
import { examplePassages, prefixHash } from "./prompt.ts";
import { untilAborted } from "./until-aborted.ts";

export interface OpenBatch {
  readonly request: BatchRequest;
  readonly plan: Plan;
  /** Null where the batch has no examples. */
  readonly prefix: PrefixSource | null;
  /** What all of its items' prompts have in common. */
  readonly prefixHash: string;
}

/** How the examples become pixels. */
export type ExampleModel = Pick<ItemModel, "preprocessing" | "maxFrames">;

export interface OpenBatches {
  /** Throws passing faults; the next call tries again. The caller's signal ends its wait; what is being read is read on, for whoever asks next. */
  open(id: string, plan: string, model: ExampleModel, signal: AbortSignal): Promise<OpenBatch>;
}

const batchesHeld = 16;

export function holdOpenBatches(dependencies: {
  readonly storage: Storage;
  readonly bucket: string;
  readonly decoder: Decoder;
  /** Ends the reading itself. */
  readonly signal: AbortSignal;
}): OpenBatches {
  const held = new Map<string, Promise<OpenBatch>>();
  return {
    open: (id, plan, model, signal) => {
      const name = `${id}/${plan}`;
      const known = held.get(name);
      const opened = known ?? readBatch(dependencies, id, plan, model);
      // Used last, dropped last.
      held.delete(name);
      held.set(name, opened);
      if (known === undefined) opened.catch(() => held.delete(name));
      const [oldest] = held.keys();
      if (held.size > batchesHeld && oldest !== undefined) held.delete(oldest);
      return untilAborted(opened, signal);
    },
  };
}

async function readBatch(
  { storage, bucket, decoder, signal }: Parameters<typeof holdOpenBatches>[0],
  id: string,
  planId: string,
  { preprocessing, maxFrames }: ExampleModel,
): Promise<OpenBatch> {
  const keys = batchKeys(id);
  const request = await readJson(storage, { bucket, key: keys.request }, batchRequest, signal);
  const plan = await readJson(storage, { bucket, key: keys.plan(planId).manifest }, planSchema, signal);
  if (request === null || plan === null) throw new CodedError("internal_error", `${id}: its request or plan isn't in S3`);
  const common = prefixHash(request, plan.examples);
  if (request.examples.length === 0) return { request, plan, prefix: null, prefixHash: common };

  const media: (Media | null)[] = [];
  const planned = keys.plan(planId);
  for (const [index, example] of plan.examples.entries()) {
    if (example === null) {
      media.push(null);
      continue;
    }
    const shown = Array.isArray(example)
      ? { images: example.map((_, place) => planned.exampleFrame(index, place)) }
      : { image: planned.example(index) };
    const frames: Float32Array[] = [];
    for (const { image: key, frames: wanted } of sourcesOf(shown, request.frames, maxFrames)) {
      const { bytes } = await storage.read({ bucket, key }, { signal });
      frames.push(...(await decoder.decode(bytes, { preprocessing, frames: wanted, pixels: request.pixels }, signal)));
    }
    media.push(frames);
  }
  const passages = examplePassages(request, media).map(({ text, images }): Passage => ({ text, media: images }));
  return { request, plan, prefix: { key: `${id}/${planId}`, passages }, prefixHash: common };
}
