/** Holds a round's batch against what is promised: one line an item, in order, of the right words; counts, files, Redis and the api agree. Owns the laws; refuses to look anything up. */
import { createHash } from "node:crypto";
import type { Batch, End, ResultLine } from "@flamboyance/contracts";
import type { BatchRecord } from "@flamboyance/queue";
import { saying, type Manifest } from "./manifests.ts";
import { isLoss, type Fault, type RoundPlan } from "./plan-round.ts";

/** A broken law. What isn't an item lost or doubled, or a batch stuck, is `wrong`. */
export interface Broken {
  readonly law: "lost" | "doubled" | "stuck" | "wrong";
  readonly what: string;
}

export interface Seen {
  readonly plan: RoundPlan;
  readonly manifest: Manifest;
  readonly batch: Batch;
  readonly record: BatchRecord | null;
  readonly end: End | null;
  /** All lines, read anew after the end. */
  readonly lines: readonly ResultLine[];
  /** What a reader was shown that began while the batch ran, up to its end. */
  readonly shown: readonly ResultLine[];
  readonly files: { readonly output: Uint8Array; readonly errors: Uint8Array } | null;
  /** A cancel was answered as done. */
  readonly cancelled: boolean;
  /** Rows that came to the engine, and how many different ones. */
  readonly rows: { readonly asked: number; readonly different: number };
  readonly met: readonly Fault[];
}

export function brokenLaws(seen: Seen): Broken[] {
  const broken: Broken[] = [];
  const hold = (law: Broken["law"], holds: boolean, what: string): void => {
    if (!holds) broken.push({ law, what });
  };
  const { batch, record, end, lines, manifest, plan } = seen;
  const { status, request_counts: counts } = batch;

  const ends = seen.cancelled
    ? ["cancelled"]
    : plan.wish.kind === "cancel"
      ? ["completed", "cancelled"]
      : plan.wish.kind === "expiry"
        ? ["completed", "expired"]
        : ["completed"];
  hold("wrong", ends.includes(status), `ended as ${status}, may ${ends.join(" or ")}`);
  // Stopped before its plan was adopted, a batch has no lines.
  const planned = end?.files !== null;
  const customIds = planned ? manifest.customIds : [];
  hold("wrong", planned || status !== "completed", "completed without results");

  const ids = lines.map(({ id }) => id);
  hold("doubled", new Set(ids).size === ids.length, `${ids.length} lines have ${new Set(ids).size} ids`);
  const count = (all: readonly (string | null)[]): Map<string | null, number> => {
    const counted = new Map<string | null, number>();
    for (const one of all) counted.set(one, (counted.get(one) ?? 0) + 1);
    return counted;
  };
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
  const poisoned = seen.met.some(({ kind }) => kind === "poison image");
  const may = (place: number): (string | null | undefined)[] =>
    poisoned && place === manifest.poisoned ? ["500 poison_item", stopped] : [manifest.truth[place], stopped];
  const other = lines.findIndex((line, place) => !may(place).includes(saying(line)));
  hold("wrong", other === -1, `line ${other} says ${JSON.stringify(lines[other])}, not ${manifest.truth[other]}`);

  const completed = lines.filter(({ response }) => response?.status_code === 200).length;
  const counted = { total: lines.length, completed, failed: lines.length - completed };
  hold("wrong", same(counts, counted), `counts ${JSON.stringify(counts)}, lines ${JSON.stringify(counted)}`);
  const changed = seen.shown.findIndex((line, index) => !same(line, lines[index]));
  hold("wrong", changed === -1, `a reader was shown ${JSON.stringify(seen.shown[changed])}, the end has ${JSON.stringify(lines[changed])}`);
  hold("wrong", seen.shown.length === lines.length, `a reader that followed was shown ${seen.shown.length} of ${lines.length} lines`);

  hold("wrong", end !== null && end.status === status && same(end.counts, counts), `end.json says ${JSON.stringify(end)}`);
  // A loss takes the row of a batch that is settled: S3 speaks for it then, and the api from there.
  hold("wrong", record !== null || seen.met.some(isLoss), "Redis has no row of it");
  if (record !== null) {
    hold(
      "wrong",
      record.status === status && record.seal === end?.seal && record.settled,
      `Redis says ${record.status}, seal ${record.seal}`,
    );
    const inRedis = { total: record.items + record.refused, completed: record.completed, failed: record.failed };
    hold("wrong", same(inRedis, counts), `Redis counts ${JSON.stringify(inRedis)}`);
  }
  const hashes = seen.files === null ? null : { output: sha256(seen.files.output), errors: sha256(seen.files.errors) };
  const named = end?.files === null || end === null ? null : { output: end.files.output.sha256, errors: end.files.errors.sha256 };
  hold("wrong", same(hashes, named), `the files are ${JSON.stringify(hashes)}, end.json names ${JSON.stringify(named)}`);

  const again = seen.rows.asked - seen.rows.different;
  const bound = seen.met.reduce((sum, fault) => sum + mostRepeated(fault), 0);
  hold("wrong", again <= bound, `${again} items ran again, at most ${bound} may`);
  return broken;
}

/** Items of a chunk in these batches, times the chunks that a worker holds. */
const inHand = 4 * 2;
const inAllHands = 3 * inHand;

/** How many items a fault makes run again at most: those in the hands that it strikes, for an outage anew at each try within it. */
export function mostRepeated(fault: Fault): number {
  switch (fault.kind) {
    case "worker killed":
    case "worker stalled":
      return inHand;
    case "api killed":
      return 0;
    case "S3 failing":
    case "Redis killed":
    case "Redis full":
      // A job that failed comes back after a quarter of a second at the least.
      return inAllHands * (1 + Math.ceil(fault.forMs / 250));
    case "Redis emptied":
    case "Redis without its last second":
      // A part that stands in S3 counts after the rebuild; what was under way, at the loss and once more at its second, doesn't.
      return 3 * inAllHands;
    case "poison image":
      // The first death's chunks; after that nothing runs beside the poison.
      return 4 * inHand;
    case "clock jump":
      return inHand;
  }
}

const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
