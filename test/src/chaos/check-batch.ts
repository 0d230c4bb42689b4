/** Holds one batch that ended against what is promised: one line an item, in order, of the right words; counts, files, Redis and the api agree. Owns these laws; who its items are and what they may say is given. */
import { createHash } from "node:crypto";
import type { Batch, End, ResultLine } from "@flamboyance/contracts";
import type { BatchRecord } from "@flamboyance/queue";
import { saying } from "./manifests.ts";

/** A broken law. What isn't an item lost or doubled, or a batch stuck, is `wrong`. */
export interface Broken {
  readonly law: "lost" | "doubled" | "stuck" | "wrong";
  readonly what: string;
}

/** All that can be seen of a batch after its end. */
export interface SeenBatch {
  readonly batch: Batch;
  readonly record: BatchRecord | null;
  readonly end: End | null;
  /** All lines, read anew after the end. */
  readonly lines: readonly ResultLine[];
  /** What a reader was shown that began while the batch ran, up to its end. */
  readonly shown: readonly ResultLine[];
  readonly files: { readonly output: Uint8Array; readonly errors: Uint8Array } | null;
}

export interface Expected {
  readonly ends: readonly Batch["status"][];
  /** Of its lines, in order, where it was planned. */
  readonly customIds: readonly (string | null)[];
  /** What the line at this place may say (manifests.ts), had its batch not been stopped. */
  readonly may: (place: number) => string | undefined;
  /** Redis may have no row of it: it was lost. */
  readonly rowLost: boolean;
}

export function brokenOfBatch({ batch, record, end, lines, shown, files }: SeenBatch, expected: Expected): Broken[] {
  const broken: Broken[] = [];
  const hold = (law: Broken["law"], holds: boolean, what: string): void => {
    if (!holds) broken.push({ law, what });
  };
  const { status, request_counts: counts } = batch;
  const { ends } = expected;
  hold("wrong", ends.includes(status), `ended as ${status}, may ${ends.join(" or ")}`);
  // Stopped before its plan was adopted, a batch has no lines.
  const planned = end?.files !== null;
  const customIds = planned ? expected.customIds : [];
  hold("wrong", planned || status !== "completed", "completed without results");

  const ids = lines.map(({ id }) => id);
  hold("doubled", new Set(ids).size === ids.length, `${ids.length} lines have ${new Set(ids).size} ids`);
  const found = count(lines.map(({ custom_id }) => custom_id));
  const lost = customIds.filter((customId) => !found.has(customId));
  const doubled = [...found].filter(([customId, times]) => times > 1 || !customIds.includes(customId));
  hold("lost", lost.length === 0, `no line: ${lost.slice(0, 5).join(", ")} (${lost.length})`);
  hold("doubled", doubled.length === 0, `lines that may not be: ${JSON.stringify(doubled.slice(0, 5))} (${doubled.length})`);
  hold(
    "wrong",
    lines.every(({ custom_id }, index) => custom_id === customIds[index]),
    "the lines aren't in the manifest's order",
  );

  const stopped = status === "cancelled" ? "batch_cancelled in line 0" : status === "expired" ? "batch_expired in line 0" : null;
  const other = lines.findIndex((line, place) => ![expected.may(place), stopped].includes(saying(line)));
  hold("wrong", other === -1, `line ${other} says ${JSON.stringify(lines[other])}, not ${expected.may(other)}`);

  const completed = lines.filter(({ response }) => response?.status_code === 200).length;
  const counted = { total: lines.length, completed, failed: lines.length - completed };
  hold("wrong", same(counts, counted), `counts ${JSON.stringify(counts)}, lines ${JSON.stringify(counted)}`);
  const changed = shown.findIndex((line, index) => !same(line, lines[index]));
  hold("wrong", changed === -1, `a reader was shown ${JSON.stringify(shown[changed])}, the end has ${JSON.stringify(lines[changed])}`);
  hold("wrong", shown.length === lines.length, `a reader that followed was shown ${shown.length} of ${lines.length} lines`);

  hold("wrong", end !== null && end.status === status && same(end.counts, counts), `end.json says ${JSON.stringify(end)}`);
  // A loss takes the row of a batch that is settled: S3 speaks for it then, and the api from there.
  hold("wrong", record !== null || expected.rowLost, "Redis has no row of it");
  if (record !== null) {
    hold(
      "wrong",
      record.status === status && record.seal === end?.seal && record.settled,
      `Redis says ${record.status}, seal ${record.seal}`,
    );
    const inRedis = { total: record.items + record.refused, completed: record.completed, failed: record.failed };
    hold("wrong", same(inRedis, counts), `Redis counts ${JSON.stringify(inRedis)}`);
  }
  const hashes = files === null ? null : { output: sha256(files.output), errors: sha256(files.errors) };
  const named = end?.files === null || end === null ? null : { output: end.files.output.sha256, errors: end.files.errors.sha256 };
  hold("wrong", same(hashes, named), `the files are ${JSON.stringify(hashes)}, end.json names ${JSON.stringify(named)}`);
  return broken;
}

export const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

function count(all: readonly (string | null)[]): Map<string | null, number> {
  const counted = new Map<string | null, number>();
  for (const one of all) counted.set(one, (counted.get(one) ?? 0) + 1);
  return counted;
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
