/**
 * What a plan freezes of its manifest: items.jsonl with its index, and the refused lines where they are skipped, in one pass.
 * Owns what makes an input no plan: a bad line where those fail the batch, too many lines, none at all.
 */
import { CodedError, isSampled, limits, type BatchRequest, type LineError, type Plan } from "@flamboyance/contracts";
import { jsonLine, type PlanKeys, type Storage } from "@flamboyance/storage";
import { BadLines, lineErrorOf } from "./bad-lines.ts";
import { ChunkLedger } from "./chunk-ledger.ts";
import { isOwnFault } from "./fate.ts";
import { FirstItems } from "./first-items.ts";
import type { KeptBytes } from "./kept-bytes.ts";
import { openLineFile } from "./line-file.ts";
import type { ManifestEntry } from "./manifest.ts";
import type { PlanNotes } from "./suspect-plan.ts";

export type FrozenItems =
  | { readonly kind: "written"; readonly facts: Pick<Plan, "items" | "chunks" | "refused" | "items_sha256" | "stored_bytes"> }
  | { readonly kind: "refused"; readonly errors: readonly LineError[] };

/** Throws what the entries' reading throws, where it isn't the input's own fault. */
export async function freezeItems(
  storage: Storage,
  bucket: string,
  entries: AsyncIterable<readonly ManifestEntry[]>,
  {
    request,
    keys,
    notes,
    kept,
    signal,
  }: {
    readonly request: BatchRequest;
    readonly keys: PlanKeys;
    readonly notes: Pick<PlanNotes, "read">;
    /** So far, the examples'. */
    readonly kept: KeptBytes;
    readonly signal: AbortSignal;
  },
): Promise<FrozenItems> {
  const items = openLineFile(storage, { bucket, key: keys.items }, { signal });
  const skipped = openLineFile(storage, { bucket, key: keys.errors }, { signal });
  const ledger = new ChunkLedger();
  // What is sampled is drawn by each item's own name, so no two are alike.
  using first = isSampled(request.generation) || request.deduplicate === false ? null : new FirstItems();
  const bad = new BadLines();
  let lines = 0;
  try {
    await notes.read(lines);
    for await (const piece of entries) {
      const before = ledger.items;
      let text = "";
      for (const entry of piece) {
        lines += 1;
        const noting = notes.read(lines);
        if (noting !== null) await noting;
        if (lines > limits.manifestItems) throw new CodedError("too_many_tasks", `more than ${limits.manifestItems} lines`);
        if (entry.kind === "refused" && request.on_invalid === "fail") bad.add(entry.refused);
        // The batch fails: what follows is read for its bad lines alone.
        else if (bad.count > 0) continue;
        else if (entry.kind === "refused") {
          const line = jsonLine({ ...entry.refused, before_item: ledger.items });
          kept.add(Buffer.byteLength(line));
          await skipped.write(line);
        } else {
          const sameAs = first?.find(entry.item, ledger.items) ?? null;
          const line = jsonLine(sameAs === null ? entry.item : { ...entry.item, same_as: sameAs });
          text += line;
          const lineBytes = Buffer.byteLength(line);
          kept.add(lineBytes);
          ledger.add(lineBytes);
        }
      }
      await items.writeLines(text, ledger.items - before);
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
    const indexOptions = { contentType: "application/octet-stream", signal };
    const index = await storage.writeStream({ bucket, key: keys.index }, asStream(pieces), indexOptions);
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
