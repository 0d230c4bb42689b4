/**
 * The plan job: reads the manifest once and freezes it (freeze-items.ts), with the examples' bytes; plan.json last; then adopts it.
 * A suspect plan (its last claimant died over it) is made with nothing else in the process, and what it touches is noted (suspect-plan.ts).
 * Owns which faults are the batch's own (it ends as failed, with the reason). Nothing here counts before it is adopted: a loser's folder just lies there.
 */
import { createHash } from "node:crypto";
import { batchRequest, CodedError, type BatchRequest, type LineError, type Plan } from "@flamboyance/contracts";
import type { Preprocessing } from "@flamboyance/model";
import { newUlid, type OverQuota, type PlannedQuota, type Queue } from "@flamboyance/queue";
import { batchKeys, jsonLine, readJson, type PlanKeys, type Storage } from "@flamboyance/storage";
import { lineErrorOf } from "./bad-lines.ts";
import type { Decoder } from "./decode.ts";
import { writeReport } from "./dry-run.ts";
import { isOwnFault } from "./fate.ts";
import { fetchImage, type ImageSources } from "./fetch.ts";
import { freezeItems } from "./freeze-items.ts";
import { stopKind } from "./job-stop.ts";
import { KeptBytes } from "./kept-bytes.ts";
import { readManifest, type ManifestEntry } from "./manifest.ts";
import { examplePassages, labelsOf } from "./prompt.ts";
import { readFollowedPlan, readRetryItems } from "./retry-items.ts";
import { aloneIn, inRoom, type Place, type Rooms } from "./solitude.ts";
import type { StopWatch } from "./stop-watch.ts";
import { takePlanNotes, type PlanNotes } from "./suspect-plan.ts";
import { shownImage } from "./web-image.ts";

export interface PlanDependencies extends ImageSources {
  readonly storage: Storage;
  readonly queue: Queue;
  readonly serviceBucket: string;
  readonly decoder: Decoder;
  readonly stops: StopWatch;
  /** This process, by which it says that it lives. */
  readonly worker: string;
  readonly rooms: Rooms;
}

/** `signal` fires when the worker shuts down or the job's lock is lost: the job is handed back. */
export function runPlan(dependencies: PlanDependencies, id: string, signal: AbortSignal): Promise<"done" | "hand_back"> {
  // Before the claim, as a chunk.
  return inRoom(dependencies.rooms.plans, signal, (place) => planClaimed(dependencies, id, place, signal));
}

async function planClaimed(dependencies: PlanDependencies, id: string, place: Place, signal: AbortSignal): Promise<"done" | "hand_back"> {
  const { storage, queue, serviceBucket: bucket, stops, worker, rooms } = dependencies;
  const attempt = newUlid();
  const claim = await queue.claimPlan({ id, attempt, worker });
  // Cancelled or expired before it was planned: nothing runs that its seal would wait for.
  if (claim.kind === "stopped") await queue.repair(id);
  if (claim.kind !== "run") return "done";
  const notes = takePlanNotes(queue, { ...claim, id, attempt });
  const stop = stops.watch(id);
  const either = AbortSignal.any([signal, stop.signal]);
  let others: Pick<Place, "leave"> | null = null;
  try {
    if (claim.suspect) {
      // Other plans may be long: until they have left, chunks and finalizes go on.
      await place.alone(either);
      others = await aloneIn([rooms.finalizes, rooms.chunks], either);
    }
    const request = await readJson(storage, { bucket, key: batchKeys(id).request }, batchRequest, signal);
    if (request === null) throw new CodedError("internal_error", `${id}: its request isn't in S3`);
    const outcome = await writePlan(dependencies, request, notes, either);
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
    if (notes.isOvertaken()) return "done";
    // This attempt is over. Where Redis is away, the claim is outlived instead.
    await queue.releasePlan({ id, attempt }).catch(() => {});
    if (signal.aborted) return "hand_back";
    if (stopKind(stop.signal) === null) throw error;
    await queue.repair(id);
    return "done";
  } finally {
    stop.done();
    others?.leave();
  }
}

/** A retry's items are those of the batches before it; the manifest isn't read again. */
function entriesOf(
  { storage, buckets, serviceBucket }: PlanDependencies,
  request: BatchRequest,
  signal: AbortSignal,
): AsyncIterable<readonly ManifestEntry[]> {
  return request.retry === undefined
    ? readManifest(buckets.of(request.access.credentials), request, { serviceBucket, signal })
    : readRetryItems({ storage, bucket: serviceBucket }, request.retry, signal);
}

function overQuota({ quota, have, most }: OverQuota<PlannedQuota>, { items, stored_bytes: bytes }: Plan): string {
  const what = {
    items_queued: `its ${items} items and the ${have} that you have queued`,
    stored_bytes: `its plan's ${bytes} bytes and the ${have} that your batches keep`,
  }[quota];
  return `${what} are more than the ${most} that you may have (${quota})`;
}

type Outcome = { readonly kind: "written"; readonly plan: Plan } | { readonly kind: "refused"; readonly errors: readonly LineError[] };

async function writePlan(dependencies: PlanDependencies, request: BatchRequest, notes: PlanNotes, signal: AbortSignal): Promise<Outcome> {
  const { storage, serviceBucket: bucket } = dependencies;
  const plan = newUlid();
  const keys = batchKeys(request.id).plan(plan);
  const kept = new KeptBytes(request);
  try {
    const examples =
      request.retry === undefined
        ? await writeExamples(dependencies, request, keys, { notes, kept, signal })
        : await copyExamples(dependencies, request.retry, keys, { kept, signal });
    const look = { preprocessing: anyPreprocessing, frames: request.frames ?? null, pixels: request.pixels };
    const lines = await (request.dry_run === true
      ? writeReport(dependencies, request, keys, { look, notes, signal })
      : freezeItems(storage, bucket, entriesOf(dependencies, request, signal), { request, keys, notes, kept, signal }));
    // What comes now is nobody's fault.
    await notes.touch(null);
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
  { notes, kept, signal }: { readonly notes: PlanNotes; readonly kept: KeptBytes; readonly signal: AbortSignal },
): Promise<Plan["examples"]> {
  const examples: Plan["examples"] = [];
  examplePassages(
    request,
    request.examples.map(({ image, images }) => image ?? images ?? null),
  );
  labelsOf(request, {});
  const copy = async (image: string, frames: number | null, key: string, [index, place, param]: [number, number | null, string]) => {
    const look = { preprocessing: anyPreprocessing, frames, pixels: request.pixels };
    const bytes = await fetchImage({ buckets, web }, { image, etag: null }, { access: request.access, serviceBucket }, signal)
      .then(async ({ bytes: found }) => {
        await notes.during({ kind: "example", index, place }, () => decoder.decode(found, look, signal));
        return found;
      })
      .catch((error: unknown) => {
        if (signal.aborted || !isOwnFault(error)) throw error;
        throw new CodedError("bad_example", `${shownImage(image)}: ${error.message} (${error.code})`, { param, cause: error });
      });
    kept.add(bytes.length);
    await storage.write({ bucket: serviceBucket, key }, bytes, { contentType: "application/octet-stream", signal });
    return { sha256: createHash("sha256").update(bytes).digest("hex"), size_bytes: bytes.length };
  };
  for (const [index, { image, images }] of request.examples.entries()) {
    if (image !== undefined)
      examples.push(await copy(image, request.frames ?? null, keys.example(index), [index, null, `examples[${index}].image`]));
    else if (images === undefined) examples.push(null);
    else {
      const frames = [];
      for (const [place, frame] of images.entries())
        frames.push(await copy(frame, null, keys.exampleFrame(index, place), [index, place, `examples[${index}].images[${place}]`]));
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
  { kept, signal }: { readonly kept: KeptBytes; readonly signal: AbortSignal },
): Promise<Plan["examples"]> {
  const followed = await readFollowedPlan({ storage, bucket }, retry, signal);
  const copy = async (from: string, to: string) => {
    const { bytes } = await storage.read({ bucket, key: from }, { signal });
    kept.add(bytes.length);
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
