/**
 * A dry run's plan: the manifest is read as any plan reads it, but nothing is frozen: what was found becomes a report, and the plan has no items, so that the batch
 * ends with its adoption. Owns the report, and which images are looked at. What fails any batch (no manifest, an example that can't be read) fails a dry run too.
 */
import { createHash } from "node:crypto";
import { CodedError, limits, type BatchRequest, type DryRunReport, type Item, type LineError, type Plan } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import { jsonLine, type PlanKeys, type Storage } from "@flamboyance/storage";
import { BadLines, lineErrorOf } from "./bad-lines.ts";
import type { Decoder, Look } from "./decode.ts";
import { isOwnFault } from "./fate.ts";
import { describeImage, fetchImage, isWeb, type ImageSources, type Owner, type WantedImage } from "./fetch.ts";
import { readManifest } from "./manifest.ts";
import type { PlanNotes } from "./suspect-plan.ts";
import { shownImage } from "./web-image.ts";

export interface DryRunDependencies extends ImageSources {
  readonly storage: Storage;
  readonly queue: Queue;
  readonly serviceBucket: string;
  readonly decoder: Decoder;
}

type Outcome =
  | { readonly kind: "written"; readonly facts: Pick<Plan, "items" | "chunks" | "refused" | "items_sha256" | "stored_bytes" | "report"> }
  | { readonly kind: "refused"; readonly errors: readonly LineError[] };

export async function writeReport(
  dependencies: DryRunDependencies,
  request: BatchRequest,
  keys: PlanKeys,
  { look, notes, signal }: { readonly look: Look; readonly notes: PlanNotes; readonly signal: AbortSignal },
): Promise<Outcome> {
  const { storage, buckets, queue, serviceBucket } = dependencies;
  const bad = new BadLines(limits.reportErrors);
  const sample = new EvenSample<Item>(imagesLookedFor);
  try {
    await notes.read(0);
    for await (const entries of readManifest(buckets.of(request.access.credentials), request, { serviceBucket, signal })) {
      for (const entry of entries) {
        if (entry.kind === "refused") bad.add(entry.refused);
        else sample.add(entry.item);
        const noting = notes.read(bad.count + sample.seen);
        if (noting !== null) await noting;
      }
      if (bad.count + sample.seen > limits.manifestItems) throw new CodedError("too_many_tasks", `more than ${limits.manifestItems} lines`);
    }
    // What comes now isn't the manifest's fault.
    await notes.touch(null);
    if (bad.count + sample.seen === 0) throw new CodedError("empty_file", `${request.input} holds nothing to do`);
  } catch (error) {
    if (signal.aborted || !isOwnFault(error)) throw error;
    return { kind: "refused", errors: [...bad.errors(), lineErrorOf(error)] };
  }
  const items = sample.seen;
  const looked = await lookAt(dependencies, request, sample.chosen(), { look, notes, signal });
  const live = (await queue.liveModels()).find(({ key }) => key === request.model.key);
  const rate = live?.itemsPerSecond ?? null;
  const report: DryRunReport = {
    object: "batch.report",
    batch_id: request.id,
    lines: items + bad.count,
    items,
    refused: bad.count,
    would_fail: bad.count > 0 && request.on_invalid === "fail",
    errors: [...bad.first()],
    more_errors: bad.count - bad.first().length,
    codes: bad.codes(),
    sample: looked,
    estimate: {
      image_bytes: looked.mean_bytes === null ? null : Math.round(looked.mean_bytes * items),
      items_per_second: rate,
      seconds: rate === null ? null : Math.ceil(items / rate),
    },
  };
  const text = jsonLine(report);
  await storage.write({ bucket: serviceBucket, key: keys.report }, text, { contentType: "application/json", signal });
  const noItems = { items: 0, chunks: 0, refused: 0, items_sha256: sha256("") };
  return { kind: "written", facts: { ...noItems, stored_bytes: Buffer.byteLength(text), report: { sha256: sha256(text) } } };
}

const imagesLookedFor = 64;
const imagesDecoded = 8;
const lookedForAtOnce = 8;

async function lookAt(
  dependencies: DryRunDependencies,
  request: BatchRequest,
  items: readonly Item[],
  { look, notes, signal }: { readonly look: Look; readonly notes: PlanNotes; readonly signal: AbortSignal },
): Promise<DryRunReport["sample"]> {
  const { serviceBucket, decoder } = dependencies;
  const owner: Owner = { access: request.access, serviceBucket };
  const problems = new Map<number, DryRunReport["sample"]["problems"][number]>();
  const sizes: number[] = [];
  let decoded = 0;
  const every = Math.max(1, Math.floor(items.length / imagesDecoded));
  let images = 0;
  const lookFor = async (item: Item, at: number): Promise<void> => {
    const wanted = firstImage(item);
    const isDecoded = at % every === 0 && at / every < imagesDecoded;
    // The web says of an image what it is by giving it whole.
    if (isWeb(wanted.image) && !isDecoded) return;
    images += 1;
    try {
      if (!isWeb(wanted.image)) sizes.push((await describeImage(dependencies, wanted, owner, signal)).sizeBytes);
      if (!isDecoded) return;
      const { bytes } = await fetchImage(dependencies, wanted, owner, signal);
      if (isWeb(wanted.image)) sizes.push(bytes.length);
      await notes.during({ kind: "image", at }, () => decoder.decode(bytes, look, signal));
      decoded += 1;
    } catch (error) {
      if (signal.aborted || !isOwnFault(error)) throw error;
      problems.set(at, { custom_id: item.custom_id, image: shownImage(wanted.image), code: error.code, message: error.message });
    }
  };
  const atOnce = notes.suspect ? 1 : lookedForAtOnce;
  for (let start = 0; start < items.length; start += atOnce) {
    await Promise.all(items.slice(start, start + atOnce).map((item, at) => lookFor(item, start + at)));
  }
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  return {
    images,
    found: sizes.length,
    mean_bytes: sizes.length === 0 ? null : bytes / sizes.length,
    decoded,
    problems: [...problems].toSorted(([a], [b]) => a - b).map(([, problem]) => problem),
  };
}

function firstImage(item: Item): WantedImage {
  return "image" in item ? { image: item.image, etag: item.etag ?? null } : { image: item.images[0] ?? "", etag: null };
}

/** Some of a stream of unknown length, evenly spaced, always the same ones: every one at first, then every second, every fourth. */
class EvenSample<Value> {
  readonly #least: number;
  #kept: Value[] = [];
  #every = 1;
  #seen = 0;

  constructor(least: number) {
    this.#least = least;
  }

  get seen(): number {
    return this.#seen;
  }

  add(value: Value): void {
    if (this.#seen % this.#every === 0) this.#kept.push(value);
    this.#seen += 1;
    if (this.#kept.length < 2 * this.#least) return;
    this.#kept = this.#kept.filter((_, at) => at % 2 === 0);
    this.#every *= 2;
  }

  /** All where there are no more than asked for, else at least as many as that, and less than twice. */
  chosen(): readonly Value[] {
    return this.#kept;
  }
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
