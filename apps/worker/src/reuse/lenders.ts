/**
 * Answers that a tenant's ended batches lend to its later ones (`reuse`): which batches are asked, and what they say. Owns the comparison (an index is a hint; the line
 * that it points to is held against what is asked, by its checksum and its key) and that a deleted batch says nothing. Whatever goes wrong here is an answer that
 * isn't found: the item runs.
 */
import { crc32 } from "node:zlib";
import { CodedError, end as endSchema, resultLine, type ResultLine } from "@flamboyance/contracts";
import { batchKeys, lenderInName, readJson, recipePrefix, type Location, type Storage } from "@flamboyance/storage";
import type { Metrics } from "../metrics.ts";
import type { OpenBatch } from "../open-batches.ts";
import { answerKey, keyOfLine, recipeOf, type Asked } from "./answer-key.ts";
import { findPlaces, segmentBytes, segmentsOf } from "./answer-index.ts";
import { openPages } from "./pages.ts";

export interface Lenders {
  /** The batches that this one may take answers from, as they stand now; null where it doesn't ask for any. Throws the signal's reason alone. */
  open(batch: Pick<OpenBatch, "request" | "prefixHash">, signal: AbortSignal): Promise<EarlierAnswers | null>;
}

export interface EarlierAnswers {
  /** The line that answers this; null where none is found. Throws the signal's reason alone. */
  find(asked: Asked, signal: AbortSignal): Promise<ResultLine | null>;
}

interface StoredObject extends Location {
  readonly sizeBytes: number;
}

interface Segment extends StoredObject {
  readonly entries: number;
}

/** One batch that lends. What is here was written before its end, and never changes. */
interface Lender {
  readonly id: string;
  readonly output: StoredObject;
  readonly segments: readonly Segment[];
}

/** The newest of them are asked: each costs a look, and what an old one knows most often a newer one knows too. */
const lendersAsked = 32;
const lendersHeld = 1_024;
/** A longer answer runs again: a page cache isn't for such. */
const lentLineBytes = 1024 * 1024;

export function openLenders(dependencies: {
  readonly storage: Storage;
  readonly bucket: string;
  readonly metrics: Metrics;
  /** Of indexes and results. */
  readonly maxBytes: number;
  /** Ends what is being read. */
  readonly signal: AbortSignal;
  /** Default: the process's, which no jump of the wall clock moves. */
  readonly nowMs?: () => number;
}): Lenders {
  const { storage, bucket, metrics, nowMs = () => performance.now() } = dependencies;
  const pages = openPages(dependencies);
  const held = new Map<string, Lender>();

  const readLender = async (pointer: string, recipe: string, signal: AbortSignal): Promise<Lender | null> => {
    const known = held.get(pointer);
    if (known !== undefined) return known;
    const id = lenderInName(pointer);
    if (id === null) return null;
    const keys = batchKeys(id);
    const end = await readJson(storage, { bucket, key: keys.end }, endSchema, signal);
    if (end === null) {
      // Not ended yet; or its pointer came late, from a finalizer that slept through the delete.
      if ((await storage.describe({ bucket, key: keys.request }, { signal })) === null)
        await storage.remove([{ bucket, key: pointer }], { signal });
      return null;
    }
    const { lends, files, seal } = end;
    if (lends?.recipe !== recipe || files === null) return null;
    const lender: Lender = {
      id,
      output: { bucket, key: files.output.key, sizeBytes: lends.output_bytes },
      segments: segmentsOf(lends.entries).map((entries, at) => ({
        bucket,
        key: keys.final(seal).answers(at),
        sizeBytes: segmentBytes(entries),
        entries,
      })),
    };
    held.set(pointer, lender);
    const [oldest] = held.keys();
    if (held.size > lendersHeld && oldest !== undefined) held.delete(oldest);
    return lender;
  };

  return {
    open: async ({ request, prefixHash }, signal) => {
      if (request.reuse !== true) return null;
      const recipe = recipeOf(request, prefixHash);
      const found: Lender[] = [];
      try {
        const pointers: string[] = [];
        for await (const { key } of storage.list({ bucket, key: recipePrefix(request.tenant, recipe) }, { signal })) {
          if (lenderInName(key) !== request.id) pointers.push(key);
          if (pointers.length === lendersAsked) break;
        }
        for (const lender of await Promise.allSettled(pointers.map((pointer) => readLender(pointer, recipe, signal)))) {
          if (lender.status === "rejected") metrics.reuse("fault");
          else if (lender.value !== null) found.push(lender.value);
        }
      } catch {
        metrics.reuse("fault");
      }
      signal.throwIfAborted();
      const asked = found.map((lender) => new AskedLender(lender, { storage, pages, nowMs }));
      return {
        find: (what, given) => metrics.time("reuse", () => findIn(asked, answerKey(request, what), { request, metrics }, given)),
      };
    },
  };
}

async function findIn(
  lenders: AskedLender[],
  key: Buffer,
  { request, metrics }: { readonly request: OpenBatch["request"]; readonly metrics: Metrics },
  signal: AbortSignal,
): Promise<ResultLine | null> {
  // Other items change the order meanwhile.
  for (const lender of lenders.slice()) {
    try {
      const line = await lender.find(key, request, signal);
      if (line === null) continue;
      // Items often come in the order that they had: the next one's answer is where this one's was.
      moveToFront(lenders, lender);
      metrics.reuse("hit");
      return line;
    } catch {
      signal.throwIfAborted();
      metrics.reuse("fault");
      // Asked no more by this chunk: its other items don't wait for the same fault.
      if (lenders.includes(lender)) lenders.splice(lenders.indexOf(lender), 1);
    }
  }
  metrics.reuse("miss");
  return null;
}

interface Means {
  readonly storage: Pick<Storage, "describe">;
  readonly pages: ReturnType<typeof openPages>;
  readonly nowMs: () => number;
}

/** A lender as one chunk asks it. */
class AskedLender {
  readonly #lender: Lender;
  readonly #means: Means;
  readonly #segments: Segment[];
  #stands: Promise<boolean> | null = null;
  #askAgainMs = 0;

  constructor(lender: Lender, means: Means) {
    this.#lender = lender;
    this.#means = means;
    this.#segments = [...lender.segments];
  }

  async find(key: Buffer, request: OpenBatch["request"], signal: AbortSignal): Promise<ResultLine | null> {
    for (const segment of this.#segments.slice()) {
      const read = (offsetBytes: number, lengthBytes: number) => this.#means.pages.read(segment, { offsetBytes, lengthBytes }, signal);
      for (const { offsetBytes, lengthBytes, crc32: expected } of await findPlaces(key, segment.entries, read)) {
        const { id, output } = this.#lender;
        if (lengthBytes > lentLineBytes) continue;
        if (!(await this.#isThere(signal))) return null;
        const bytes = await this.#means.pages.read(output, { offsetBytes, lengthBytes }, signal);
        if (crc32(bytes) !== expected) throw new CodedError("internal_error", `${id}: no line of its output is at ${offsetBytes}`);
        const line = resultLine.parse(JSON.parse(bytes.toString("utf8")));
        if (keyOfLine(request, line)?.equals(key) !== true) continue;
        moveToFront(this.#segments, segment);
        return line;
      }
    }
    return null;
  }

  /** What was read of it may be held here long after it was deleted. */
  async #isThere(signal: AbortSignal): Promise<boolean> {
    const { end, deleted } = batchKeys(this.#lender.id);
    const { storage, nowMs } = this.#means;
    const look = (key: string) => storage.describe({ bucket: this.#lender.output.bucket, key }, { signal });
    if (this.#stands === null || nowMs() > this.#askAgainMs) {
      this.#askAgainMs = nowMs() + believedMs;
      this.#stands = Promise.all([look(deleted), look(end)]).then(([gone, there]) => gone === null && there !== null);
    }
    return this.#stands;
  }
}

/** So long after a look a lender is taken for not deleted. */
const believedMs = 1_000;

function moveToFront<Value>(list: Value[], value: Value): void {
  const at = list.indexOf(value);
  if (at > 0) list.unshift(...list.splice(at, 1));
}
