/** Holds a round against what is promised: its batch, its retry where one was asked for, and how many items ran again. Owns what may come of a wish, and what a fault costs; refuses to look anything up. */
import { brokenOfBatch, type Broken, type Expected, type SeenBatch } from "./check-batch.ts";
import { brokenOfRetry, type SeenRetry } from "./check-retry.ts";
import type { Manifest } from "./manifests.ts";
import { isLoss, type Fault, type RoundPlan } from "./plan-round.ts";

export interface Seen extends SeenBatch {
  readonly plan: RoundPlan;
  readonly manifest: Manifest;
  /** A cancel was answered as done. */
  readonly cancelled: boolean;
  /** Null where none was asked for. */
  readonly retry: SeenRetry | null;
  /** Rows that came to the engine, of the retry too, and how many different ones. */
  readonly rows: { readonly asked: number; readonly different: number };
  readonly met: readonly Fault[];
}

export function brokenLaws(seen: Seen): Broken[] {
  const { plan, manifest, met, retry } = seen;
  const poisoned = met.some(({ kind }) => kind === "poison image");
  const expected: Expected = {
    ends: endsOf(seen),
    customIds: manifest.customIds,
    may: (place) => (poisoned && place === manifest.poisoned ? "500 poison_item" : manifest.truth[place]),
    rowLost: met.some(isLoss),
  };
  const broken = brokenOfBatch(seen, expected);
  // A retry has its batch's window.
  if (retry !== null) broken.push(...brokenOfRetry(retry, seen, expected, plan.wish.kind === "expiry"));

  const again = seen.rows.asked - seen.rows.different;
  // The poison strikes in each batch; every other fault once.
  const times = (fault: Fault): number => (fault.kind === "poison image" && retry?.kind === "ran" ? 2 : 1);
  const bound = met.reduce((sum, fault) => sum + times(fault) * mostRepeated(fault), 0);
  if (again > bound) broken.push({ law: "wrong", what: `${again} items ran again, at most ${bound} may` });
  return broken;
}

function endsOf({ cancelled, plan }: Seen): Expected["ends"] {
  if (cancelled) return ["cancelled"];
  if (plan.wish.kind === "cancel") return ["completed", "cancelled"];
  return plan.wish.kind === "expiry" ? ["completed", "expired"] : ["completed"];
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
