/** What a rebuilt batch's parts add to its counts. Owns which parts are read for it: those that neither the rebuild before nor a frontier object has counted. */
import { resultLine, type Rebuilt, type Tally } from "@flamboyance/contracts";
import { batchKeys, readLines, type Storage } from "@flamboyance/storage";
import type { ChosenState } from "./choose-state.ts";
import { addTallies, noTally, tallyOf } from "./result-tally.ts";

export interface CountedParts {
  /** Of all parts. */
  readonly tally: Tally;
  readonly shown: Rebuilt["shown"];
  /** Of the parts behind the first chunk without one. */
  readonly loose: ReadonlyMap<number, Tally>;
}

const readsAtOnce = 16;
const partBytes = 256 * 1024 * 1024;

export async function countParts(
  { storage, bucket, signal }: { readonly storage: Storage; readonly bucket: string; readonly signal: AbortSignal },
  { id, base }: { readonly id: string; readonly base: Rebuilt | null },
  { plan, parts, tallies }: ChosenState,
): Promise<CountedParts> {
  const counted = base?.shown ?? { chunks: 0, tally: noTally };
  const gap = parts.indexOf(null);
  const chunks = gap === -1 ? parts.length : gap;
  let tally = counted.tally;
  let shown = counted.tally;
  const loose = new Map<number, Tally>();
  const read = async (chunk: number): Promise<Tally | null> => {
    const part = parts[chunk] ?? null;
    if (part === null || plan === null) return null;
    const known = tallies.get(chunk);
    if (known !== undefined) return known;
    const key = batchKeys(id).part(plan.plan, chunk, part.attempt, part.cut);
    let sum = noTally;
    let stored_bytes = 0;
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of storage.stream({ bucket, key }, { signal })) {
        stored_bytes += piece.length;
        yield piece;
      }
    };
    for await (const line of readLines(pieces(), { maxLineBytes: partBytes })) {
      if (line.kind === "line") sum = addTallies(sum, tallyOf(resultLine.parse(JSON.parse(line.text))));
    }
    return { ...sum, stored_bytes };
  };
  for (let first = counted.chunks; first < parts.length; first += readsAtOnce) {
    const slice = Array.from({ length: Math.min(readsAtOnce, parts.length - first) }, (_, index) => first + index);
    for (const [index, added] of (await Promise.all(slice.map(read))).entries()) {
      if (added === null) continue;
      tally = addTallies(tally, added);
      if (first + index < chunks) shown = addTallies(shown, added);
      else loose.set(first + index, added);
    }
  }
  return { tally, shown: { chunks, tally: shown }, loose };
}
