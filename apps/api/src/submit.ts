/**
 * Submit: look for the batch that a repetition means, check what can be checked at once, then the four steps whose order is law: reserve, batch.json, the open/ marker, the record.
 * A crash between any two is mended by whoever finds the marker, or by the caller's retry with its key. Refuses to look into the manifest: that is plan's work.
 */
import { createHash } from "node:crypto";
import {
  beamsOf,
  CodedError,
  completionWindowSeconds,
  hostAllowed,
  isCoded,
  isSampled,
  placeAllowed,
  type BatchRequest,
  type CreateDatasetBatch,
} from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import { batchKeys, hasBegun, inputForm, parseGlob, parseLocation, type Buckets, type Location, type Storage } from "@flamboyance/storage";
import { admit } from "./admit.ts";
import type { Caller } from "./caller.ts";
import type { CatalogueModel, ModelCatalogue } from "./model-catalogue.ts";
import { readRequest } from "./stored-batch.ts";

export interface SubmitContext {
  readonly queue: Queue;
  readonly storage: Storage;
  readonly buckets: Pick<Buckets, "of">;
  readonly catalogue: ModelCatalogue;
  /** The service's bucket. */
  readonly bucket: string;
}

export interface Submission {
  readonly caller: Caller;
  readonly body: CreateDatasetBatch;
  /** The caller's own, good for a day: the same key answers the same batch. */
  readonly idempotencyKey: string | null;
  /** The client repeats itself without a key: the batch of the last ten minutes with the same body is answered. */
  readonly retry: boolean;
}

/** Resolves with the batch's id once its record stands, or with that of the batch that the same submit made before. */
export async function submitBatch(context: SubmitContext, submission: Submission, signal: AbortSignal): Promise<string> {
  const { queue } = context;
  const reservation = {
    tenant: submission.caller.tenant,
    bodyHash: createHash("sha256").update(canonical(submission.body)).digest("hex"),
    retry: submission.retry,
    ...(submission.idempotencyKey === null ? {} : { idempotencyKey: submission.idempotencyKey }),
  };
  // What was accepted stays so, whatever became of the model, the buckets and the quotas since.
  const earlier = await queue.reserved(reservation);
  if (earlier !== null) {
    if ((await queue.batch(earlier)) !== null) return earlier;
    await refuseDeleted(context, earlier, signal);
    const standing = await readRequest(context.storage, context.bucket, earlier, signal);
    if (standing !== null) return (await enterBatch(context, standing, true, signal)).id;
  }
  const model = await context.catalogue.find(submission.body.model, signal);
  checkFrames(submission.body, model);
  await checkPlaces(context, submission, signal);

  const { id, known, now } = await queue.reserve(reservation);
  if (known && (await queue.batch(id)) !== null) return id;
  await admit(queue, submission.caller, id);
  await enterBatch(context, freeze(id, now, submission, { name: model.name, key: model.key }), known, signal);
  return id;
}

/** The steps after the id is reserved. `known`: the id may have been here before. Answers the request that stands: where it was known, perhaps another than this. */
export async function enterBatch(
  context: Pick<SubmitContext, "queue" | "storage" | "bucket">,
  wanted: BatchRequest,
  known: boolean,
  signal: AbortSignal,
): Promise<BatchRequest> {
  const { queue, storage, bucket } = context;
  const { id } = wanted;
  const keys = batchKeys(id);
  if (known) await refuseDeleted(context, id, signal);
  const request = await putRequest(context, wanted, known, signal);
  if (known && (await storage.describe({ bucket, key: keys.end }, { signal })) !== null) return request;
  if (known && (await hasBegun(storage, bucket, id, signal)) && (await queue.batch(id)) === null)
    throw new CodedError("service_unavailable", `${id} is being rebuilt.`);
  await storage.write({ bucket, key: keys.marker }, "", { contentType: "text/plain", signal });
  await queue.submit(request);
  return request;
}

/** Its key answers for a day, and the batch of that key is being taken away: under the same id nothing may begin. */
async function refuseDeleted(
  { storage, bucket }: Pick<SubmitContext, "storage" | "bucket">,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  if ((await storage.describe({ bucket, key: batchKeys(id).deleted }, { signal })) === null) return;
  throw new CodedError("conflict", `${id}, the batch of this request, was deleted: another needs another idempotency key.`);
}

/** Writes batch.json. Where the id was known before, what stands there is the request: a submit of before came as far, or runs beside this one. */
async function putRequest(
  { storage, bucket }: Pick<SubmitContext, "storage" | "bucket">,
  request: BatchRequest,
  known: boolean,
  signal: AbortSignal,
): Promise<BatchRequest> {
  const { id } = request;
  const write = (condition: { readonly ifNoneMatch?: "*" }) =>
    storage.write({ bucket, key: batchKeys(id).request }, JSON.stringify(request), {
      contentType: "application/json",
      signal,
      ...condition,
    });
  if (!known) {
    await write({});
    return request;
  }
  const standing = await readRequest(storage, bucket, id, signal);
  if (standing !== null) return standing;
  try {
    await write({ ifNoneMatch: "*" });
    return request;
  } catch (error) {
    if (!isCoded(error, "storage_precondition_failed")) throw error;
    return (await readRequest(storage, bucket, id, signal)) ?? request;
  }
}

function freeze(id: string, createdAt: number, { caller, body, idempotencyKey }: Submission, model: BatchRequest["model"]): BatchRequest {
  return {
    id,
    tenant: caller.tenant,
    access: caller.access,
    created_at: createdAt,
    expires_at: createdAt + completionWindowSeconds(body.completion_window),
    idempotency_key: idempotencyKey,
    model,
    task: body.task,
    input: body.input,
    ...(body.columns === undefined ? {} : { columns: body.columns }),
    ...(body.include === undefined ? {} : { include: body.include }),
    ...(body.exclude === undefined ? {} : { exclude: body.exclude }),
    output: body.output ?? null,
    examples: body.examples,
    question: body.question ?? null,
    ...(body.prompt === undefined ? {} : { prompt: body.prompt }),
    ...(body.labels === undefined ? {} : { labels: body.labels }),
    ...(body.task === "classify" ? { rank_by: body.rank_by ?? "mean" } : {}),
    ...(body.frames === undefined ? {} : { frames: body.frames }),
    pixels: body.pixels ?? "exact",
    generation: settle(id, body),
    on_invalid: body.on_invalid,
    completion_window: body.completion_window,
    metadata: body.metadata,
    weight: caller.weight,
    quotas: caller.quotas,
    priority: body.priority ?? 0,
    ...(body.result_formats === undefined ? {} : { result_formats: body.result_formats }),
    ...(body.deduplicate === false ? { deduplicate: false } : {}),
    ...(body.reuse === true ? { reuse: true } : {}),
    ...(body.dry_run === true ? { dry_run: true } : {}),
    ...(body.max_failed === undefined ? {} : { max_failed: body.max_failed }),
  };
}

/** With its defaults. A seed of the batch's own is kept with it, so that a chunk that runs again draws the same. */
function settle(id: string, { task, generation }: CreateDatasetBatch): BatchRequest["generation"] {
  return {
    ...generation,
    max_new_tokens: generation.max_new_tokens ?? defaultNewTokens[task],
    num_beams: beamsOf(generation),
    ...(isSampled(generation) ? { seed: generation.seed ?? createHash("sha256").update(id).digest().readUInt32LE(0) } : {}),
  };
}

/** OpenFlamingo's evaluation: 20 for captions, 5 for answers. Labels are ranked, not generated. */
const defaultNewTokens = { caption: 20, vqa: 5, prompt: 20, classify: 0 } as const;

function checkFrames({ frames = 1 }: CreateDatasetBatch, { name, maxFrames }: CatalogueModel): void {
  if (frames <= maxFrames) return;
  throw new CodedError("invalid_request", `frames: ${name} takes ${maxFrames} at most.`, { param: "frames" });
}

/** The places that the request names are the tenant's to use, its input is there, its output can be written. Plan checks the input again. */
async function checkPlaces({ buckets, bucket }: SubmitContext, { caller, body }: Submission, signal: AbortSignal): Promise<void> {
  const { read, write, credentials } = caller.access;
  const refuse = (param: string, what: string): CodedError =>
    new CodedError("bucket_not_allowed", `${param}: this key may not use ${what}.`, { param });
  const locate = (patterns: readonly string[], text: string, param: string, key = (location: Location) => location.key): Location => {
    const location = parsePlace(text, param);
    const { bucket: name } = location;
    if (name === bucket || !placeAllowed(patterns, { bucket: name, key: key(location) }))
      throw refuse(
        param,
        patterns.some((pattern) => pattern.startsWith(`${name}/`)) ? `this folder of the bucket ${name}` : `the bucket ${name}`,
      );
    return location;
  };
  const checkImage = (text: string, param: string): void => {
    if (!text.startsWith("https:")) locate(read, text, param);
    else if (!URL.canParse(text)) throw new CodedError("invalid_request", `${param}: isn't an address.`, { param });
    else if (!hostAllowed(read, new URL(text).hostname)) throw refuse(param, `the host ${new URL(text).hostname}`);
  };
  // Of a pattern, what it begins with: so much is listed.
  const input = locate(read, body.input, "input", ({ key }) => key.split(/[*?{]/, 1)[0] ?? "");
  for (const [index, { image, images }] of body.examples.entries()) {
    if (image !== undefined) checkImage(image, `examples[${index}].image`);
    for (const [place, each] of (images ?? []).entries()) checkImage(each, `examples[${index}].images[${place}]`);
  }
  const output = body.output === undefined ? null : locate(write, body.output, "output");

  const storage = buckets.of(credentials);
  await checkInput(storage, body, input, signal);
  if (output !== null) await checkOutput(storage, output, signal);
}

async function checkInput(storage: Storage, body: CreateDatasetBatch, location: Location, signal: AbortSignal): Promise<void> {
  const { input: text } = body;
  try {
    const { kind } = inputForm(text);
    for (const [field, owner] of [
      ["columns", "manifest"],
      ["include", "prefix"],
      ["exclude", "prefix"],
    ] as const) {
      if (body[field] !== undefined && kind !== owner) {
        throw new CodedError("invalid_request", `${field}: is for a ${owner}, and the input is a ${kind}.`, { param: field });
      }
    }
    if (kind === "manifest") {
      const manifest = await storage.describe(location, { signal });
      if (manifest === null) throw new CodedError("manifest_not_found", `input: there is no ${text}.`, { param: "input" });
      if (manifest.sizeBytes === 0) throw new CodedError("empty_file", `input: ${text} is empty.`, { param: "input" });
      return;
    }
    checkWords(body);
    const glob = parseGlob(text, body);
    let looked = 0;
    for await (const { key } of storage.list({ bucket: location.bucket, key: glob.prefix }, { signal })) {
      looked += 1;
      // Behind so many that don't match one may yet: plan looks at all.
      if (glob.matches(key) || looked === keysLookedAt) return;
    }
    throw new CodedError("empty_file", `input: there is nothing at ${text}.`, { param: "input" });
  } catch (error) {
    if (isCoded(error, "storage_not_found"))
      throw new CodedError("manifest_not_found", `input: there is no ${text}.`, { param: "input", cause: error });
    // Refused as wrong: its region or endpoint is another one, so nothing there can be read.
    if (isCoded(error, "storage_forbidden", "storage_refused"))
      throw new CodedError("manifest_forbidden", `input: ${text} may not be read.`, { param: "input", cause: error });
    if (isCoded(error, "storage_invalid_location")) {
      const param = error.param ?? "input";
      throw new CodedError("invalid_request", `${param}: ${error.message}`, { param, cause: error });
    }
    throw error;
  }
}

/** Keys of a prefix that are looked at for one that matches. */
const keysLookedAt = 1_000;

/** A prefix's images bring no words of their own, so a task that needs some needs the batch's. */
function checkWords({ task, question, prompt, labels }: CreateDatasetBatch): void {
  const needed = { caption: null, vqa: "question", prompt: "prompt", classify: "labels" } as const;
  const field = needed[task];
  if (field === null || { question, prompt, labels }[field] !== undefined) return;
  throw new CodedError("invalid_request", `${field}: is needed, for the images of a prefix bring none of their own.`, { param: field });
}

async function checkOutput(storage: Storage, location: Location, signal: AbortSignal): Promise<void> {
  try {
    await storage.probeWrite(location, { signal });
  } catch (error) {
    if (!isCoded(error, "storage_not_found", "storage_forbidden", "storage_refused")) throw error;
    const message = `output: s3://${location.bucket}/${location.key} isn't there, or may not be written.`;
    throw new CodedError("output_not_writable", message, { param: "output", cause: error });
  }
}

function parsePlace(text: string, param: string): Location {
  try {
    return parseLocation(text);
  } catch (error) {
    throw isCoded(error) ? new CodedError("invalid_request", `${param}: ${error.message}`, { param, cause: error }) : error;
  }
}

/** JSON with its keys in order, so that equal bodies hash alike. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
