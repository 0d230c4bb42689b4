/**
 * The plan job: reads the manifest once and freezes it: items.jsonl with its index, the refused lines, the examples' bytes; plan.json last; then adopts it.
 * Owns which faults are the batch's own (it ends as failed, with the reason). Nothing here counts before it is adopted: a loser's folder just lies there.
 */
import { createHash } from "node:crypto";
import { batchRequest, CodedError, isSampled, limits, type BatchRequest, type LineError, type Plan } from "@flamboyance/contracts";
import type { Preprocessing } from "@flamboyance/model";
import { newUlid, type OverQuota, type Queue } from "@flamboyance/queue";
import { batchKeys, jsonLine, readJson, type PlanKeys, type Storage } from "@flamboyance/storage";
import { BadLines, lineErrorOf } from "./bad-lines.ts";
import { ChunkLedger } from "./chunk-ledger.ts";
import type { Decoder } from "./decode.ts";
import { writeReport } from "./dry-run.ts";
import { FirstItems } from "./first-items.ts";
import { isOwnFault } from "./fate.ts";
import { fetchImage, type ImageSources } from "./fetch.ts";
import { stopKind } from "./job-stop.ts";
import { openLineFile } from "./line-file.ts";
import { readManifest } from "./manifest.ts";
import { examplePassages, labelsOf } from "./prompt.ts";
import { readFollowedPlan, readRetryItems } from "./retry-items.ts";
import type { StopWatch } from "./stop-watch.ts";
import { shownImage } from "./web-image.ts";

export interface PlanDependencies extends ImageSources {
  readonly storage: Storage;
  readonly queue: Queue;
  readonly serviceBucket: string;
  readonly decoder: Decoder;
  readonly stops: StopWatch;
}

/** `signal` fires when the worker shuts down or the job's lock is lost: the job is handed back. */
export async function runPlan(dependencies: PlanDependencies, id: string, signal: AbortSignal): Promise<"done" | "hand_back"> {
  const { storage, queue, serviceBucket: bucket, stops } = dependencies;
  const claim = await queue.claimPlan(id);
  // Cancelled or expired before it was planned: nothing runs that its seal would wait for.
  if (claim.kind === "stopped") await queue.repair(id);
  if (claim.kind !== "run") return "done";
  const stop = stops.watch(id);
  try {
    const request = await readJson(storage, { bucket, key: batchKeys(id).request }, batchRequest, signal);
    if (request === null) throw new CodedError("internal_error", `${id}: its request isn't in S3`);
    const outcome = await writePlan(dependencies, request, AbortSignal.any([signal, stop.signal]));
    if (outcome.kind === "refused") {
      await queue.refusePlan({ id, errors: outcome.errors });
      return "done";
    }
    const { plan, items, chunks, refused, stored_bytes: storedBytes } = outcome.plan;
    const adopted = await queue.adoptPlan({ id, plan, items, chunks, refused, storedBytes, quotas: request.quotas });
    if (adopted.kind === "over") {
      const message = overQuota(adopted, outcome.plan);
      await queue.refusePlan({ id, errors: [{ code: "quota_exceeded", message, param: null, line: null }] });
      return "done";
    }
    if (adopted.kind === "adopted" && !adopted.sealed) await queue.dispatch(request.model.key);
    return "done";
  } catch (error) {
    if (signal.aborted) return "hand_back";
    if (stopKind(stop.signal) === null) throw error;
    await queue.repair(id);
    return "done";
  } finally {
    stop.done();
  }
}

function overQuota({ quota, have, most }: OverQuota, { items, stored_bytes: bytes }: Plan): string {
  const what = {
    running_batches: `it and the ${have} batches that you have`,
    items_queued: `its ${items} items and the ${have} that you have queued`,
    stored_bytes: `its plan's ${bytes} bytes and the ${have} that your batches keep`,
  }[quota];
  return `${what} are more than the ${most} that you may have (${quota})`;
}

type Outcome = { readonly kind: "written"; readonly plan: Plan } | { readonly kind: "refused"; readonly errors: readonly LineError[] };

async function writePlan(dependencies: PlanDependencies, request: BatchRequest, signal: AbortSignal): Promise<Outcome> {
  const { storage, serviceBucket: bucket } = dependencies;
  const plan = newUlid();
  const keys = batchKeys(request.id).plan(plan);
  try {
    const examples =
      request.retry === undefined
        ? await writeExamples(dependencies, request, keys, signal)
        : await copyExamples(dependencies, request.retry, keys, signal);
    const look = { preprocessing: anyPreprocessing, frames: request.frames ?? null, pixels: request.pixels };
    const lines = await (request.dry_run === true
      ? writeReport(dependencies, request, keys, { look, signal })
      : writeItems(dependencies, request, keys, signal));
    if (lines.kind === "refused") return lines;
    const stored_bytes = lines.facts.stored_bytes + examples.flat().reduce((sum, example) => sum + (example?.size_bytes ?? 0), 0);
    const written: Plan = { plan, ...lines.facts, examples, stored_bytes };
    await storage.write({ bucket, key: keys.manifest }, jsonLine(written), { contentType: "application/json", signal });
    return { kind: "written", plan: written };
  } catch (error) {
    if (signal.aborted || !isOwnFault(error)) throw error;
    return { kind: "refused", errors: [lineErrorOf(error)] };
  }
}

/** The support images' bytes, each decoded once to see that it can be. Throws bad_example, and invalid_request for texts and labels that no prompt can hold. */
async function writeExamples(
  { storage, buckets, web, serviceBucket, decoder }: PlanDependencies,
  request: BatchRequest,
  keys: PlanKeys,
  signal: AbortSignal,
): Promise<Plan["examples"]> {
  const examples: Plan["examples"] = [];
  examplePassages(
    request,
    request.examples.map(({ image, images }) => image ?? images ?? null),
  );
  labelsOf(request, {});
  const copy = async (image: string, frames: number | null, key: string, param: string) => {
    const bytes = await fetchImage({ buckets, web }, { image, etag: null }, { access: request.access, serviceBucket }, signal)
      .then(async ({ bytes: found }) => {
        await decoder.decode(found, { preprocessing: anyPreprocessing, frames, pixels: request.pixels }, signal);
        return found;
      })
      .catch((error: unknown) => {
        if (signal.aborted || !isOwnFault(error)) throw error;
        throw new CodedError("bad_example", `${shownImage(image)}: ${error.message} (${error.code})`, { param, cause: error });
      });
    await storage.write({ bucket: serviceBucket, key }, bytes, { contentType: "application/octet-stream", signal });
    return { sha256: createHash("sha256").update(bytes).digest("hex"), size_bytes: bytes.length };
  };
  for (const [index, { image, images }] of request.examples.entries()) {
    if (image !== undefined) examples.push(await copy(image, request.frames ?? null, keys.example(index), `examples[${index}].image`));
    else if (images === undefined) examples.push(null);
    else {
      const frames = [];
      for (const [place, frame] of images.entries())
        frames.push(await copy(frame, null, keys.exampleFrame(index, place), `examples[${index}].images[${place}]`));
      examples.push(frames);
    }
  }
  return examples;
}

/** A retry's: the bytes that the batch before it ran with. */
async function copyExamples(
  { storage, serviceBucket: bucket }: PlanDependencies,
  retry: NonNullable<BatchRequest["retry"]>,
  keys: PlanKeys,
  signal: AbortSignal,
): Promise<Plan["examples"]> {
  const followed = await readFollowedPlan({ storage, bucket }, retry, signal);
  const copy = async (from: string, to: string) => {
    const { bytes } = await storage.read({ bucket, key: from }, { signal });
    await storage.write({ bucket, key: to }, bytes, { contentType: "application/octet-stream", signal });
  };
  for (const [index, example] of followed.plan.examples.entries()) {
    if (!Array.isArray(example)) {
      if (example !== null) await copy(followed.keys.example(index), keys.example(index));
      continue;
    }
    for (const place of example.keys()) await copy(followed.keys.exampleFrame(index, place), keys.exampleFrame(index, place));
  }
  return followed.plan.examples;
}

/** Whether bytes can be decoded doesn't depend on the model's size. */
const anyPreprocessing: Preprocessing = { imageSize: 32, mean: [0, 0, 0], std: [1, 1, 1] };

type Lines =
  | { readonly kind: "written"; readonly facts: Pick<Plan, "items" | "chunks" | "refused" | "items_sha256" | "stored_bytes"> }
  | { readonly kind: "refused"; readonly errors: readonly LineError[] };

/** items.jsonl, errors.jsonl (where lines are skipped) and the index, in one pass over the manifest. */
async function writeItems(
  { storage, buckets, serviceBucket }: PlanDependencies,
  request: BatchRequest,
  keys: PlanKeys,
  signal: AbortSignal,
): Promise<Lines> {
  const bucket = serviceBucket;
  const items = openLineFile(storage, { bucket, key: keys.items }, { signal });
  const skipped = openLineFile(storage, { bucket, key: keys.errors }, { signal });
  const ledger = new ChunkLedger();
  // What is sampled is drawn by each item's own name, so no two are alike.
  const first = isSampled(request.generation) || request.deduplicate === false ? null : new FirstItems();
  const bad = new BadLines();
  let lines = 0;
  try {
    const entries =
      request.retry === undefined
        ? readManifest(buckets.of(request.access.credentials), request, { serviceBucket, signal })
        : readRetryItems({ storage, bucket }, request.retry, signal);
    for await (const entry of entries) {
      lines += 1;
      if (lines > limits.manifestItems) throw new CodedError("too_many_tasks", `more than ${limits.manifestItems} lines`);
      if (entry.kind === "refused" && request.on_invalid === "fail") bad.add(entry.refused);
      // The batch fails: what follows is read for its bad lines alone.
      else if (bad.count > 0) continue;
      else if (entry.kind === "refused") await skipped.write({ ...entry.refused, before_item: ledger.items });
      else {
        const sameAs = first?.find(entry.item, ledger.items) ?? null;
        const line = jsonLine(sameAs === null ? entry.item : { ...entry.item, same_as: sameAs });
        await items.write(line);
        ledger.add(Buffer.byteLength(line));
      }
    }
    if (bad.count > 0) return { kind: "refused", errors: bad.errors() };
    if (items.lines + skipped.lines === 0) {
      throw request.retry === undefined
        ? new CodedError("empty_file", `${request.input} holds nothing to do`)
        : new CodedError("nothing_to_retry", "no item of the batches before it fails any more, or none with these codes");
    }
    const { sha256, sizeBytes } = await items.finish();
    const refused = await skipped.finish();
    const { chunks, pieces } = ledger.index();
    const index = await storage.writeStream({ bucket, key: keys.index }, asStream(pieces), {
      contentType: "application/octet-stream",
      signal,
    });
    const stored_bytes = sizeBytes + refused.sizeBytes + index.sizeBytes;
    return { kind: "written", facts: { items: items.lines, chunks, refused: refused.lines, items_sha256: sha256, stored_bytes } };
  } catch (error) {
    // What ended the reading doesn't hide the bad lines before it.
    if (signal.aborted || !isOwnFault(error) || bad.count === 0) throw error;
    return { kind: "refused", errors: [...bad.errors(), lineErrorOf(error)] };
  } finally {
    // Nothing after a finish.
    await Promise.all([items.abandon(), skipped.abandon()]);
  }
}

async function* asStream(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}
