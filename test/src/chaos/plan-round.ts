/**
 * What a round will be, from its seed and number alone: its manifest, its faults with their moments, and what its owner asks for meanwhile.
 * Owns the chances. Refuses to promise that a moment comes: a cancelled batch may never reach the step that a fault waits for.
 */
import { chanceOf, type Chance } from "@flamboyance/dev/chance";
import { apiSteps, workerSteps, type Step } from "./steps.ts";

/** When a fault strikes: after so many rows were asked for, so long after the submit, or as a process is about to take a step for the nth time. */
export type Moment =
  | { readonly at: "rows"; readonly rows: number }
  | { readonly at: "ms"; readonly ms: number }
  | { readonly at: "step"; readonly step: Step; readonly hit: number };

export type Fault = { readonly when: Moment } & (
  | { readonly kind: "worker killed"; readonly worker: number }
  | { readonly kind: "worker stalled"; readonly worker: number; readonly forMs: number }
  | { readonly kind: "api killed" }
  | { readonly kind: "S3 failing"; readonly forMs: number; readonly share: number; readonly seed: number }
  | { readonly kind: "Redis killed"; readonly forMs: number }
  | { readonly kind: "Redis full"; readonly forMs: number }
  /** Flushed; once more so long after, where that isn't null. */
  | { readonly kind: "Redis emptied"; readonly againAfterMs: number | null }
  /** Killed, and started again without the last second of its append-only file. */
  | { readonly kind: "Redis without its last second" }
  /** An image that one item alone shows ends whoever decodes it. From the round's beginning. */
  | { readonly kind: "poison image" }
  | { readonly kind: "clock jump"; readonly process: number; readonly days: number }
);
export type FaultKind = Fault["kind"];

/** What was in Redis is gone, all or some of it. */
export function isLoss({ kind }: Fault): boolean {
  return kind === "Redis emptied" || kind === "Redis without its last second";
}

export type Wish =
  | { readonly kind: "none" }
  | { readonly kind: "cancel"; readonly rows: number }
  | { readonly kind: "pause"; readonly rows: number; readonly forMs: number }
  | { readonly kind: "expiry"; readonly seconds: number };

export interface RoundPlan {
  readonly number: number;
  readonly manifest: number;
  /** How long the engine takes for a row. */
  readonly rowMs: number;
  readonly faults: readonly Fault[];
  readonly wish: Wish;
  /** Once the batch has ended, its owner asks for a retry. */
  readonly retry: boolean;
}

export const workers = 3;
export const manifests = 4;
/** Of the smallest manifest. */
export const fewestItems = 200;

export function planRound(seed: number, number: number): RoundPlan {
  const chance = chanceOf(seed, number);
  const faults = Array.from({ length: chance.between(3, 6) }, () => planFault(chance));
  const batch = { number, manifest: chance.between(0, manifests - 1), rowMs: chance.one([0, 20, 60]), faults, wish: planWish(chance) };
  // Drawn behind all else, and so is whatever is added: the rounds of a seed stay what they were.
  return { ...batch, retry: chance.next() < 0.3 };
}

function planWish(chance: Chance): Wish {
  const rows = chance.between(0, fewestItems - 1);
  switch (chance.one(["none", "none", "none", "cancel", "pause", "expiry"])) {
    case "cancel":
      return { kind: "cancel", rows };
    case "pause":
      return { kind: "pause", rows, forMs: chance.between(0, 1_500) };
    case "expiry":
      return { kind: "expiry", seconds: chance.between(1, 4) };
    default:
      return { kind: "none" };
  }
}

function planFault(chance: Chance): Fault {
  const kind = chance.one<FaultKind>([
    "worker killed",
    "worker killed",
    "worker stalled",
    "worker stalled",
    "api killed",
    "S3 failing",
    "S3 failing",
    "Redis killed",
    "Redis full",
    "Redis emptied",
    "Redis without its last second",
    "poison image",
    "clock jump",
  ]);
  const worker = chance.between(0, workers - 1);
  switch (kind) {
    case "worker killed":
      return { kind, worker, when: momentOf(chance, workerSteps) };
    case "worker stalled":
      return { kind, worker, forMs: chance.between(200, 2_500), when: momentOf(chance, workerSteps) };
    case "api killed":
      return { kind, when: momentOf(chance, apiSteps) };
    case "S3 failing":
      return {
        kind,
        forMs: chance.between(100, 1_000),
        share: chance.one([0.2, 0.5, 0.95]),
        seed: chance.between(1, 1_000_000),
        when: momentOf(chance, workerSteps),
      };
    case "Redis killed":
    case "Redis full":
      return { kind, forMs: chance.between(0, 1_000), when: momentOf(chance, workerSteps) };
    case "Redis emptied":
      return { kind, againAfterMs: chance.next() < 0.3 ? chance.between(0, 1_500) : null, when: momentOf(chance, workerSteps) };
    case "Redis without its last second":
      return { kind, when: momentOf(chance, workerSteps) };
    case "poison image":
      return { kind, when: { at: "ms", ms: 0 } };
    case "clock jump":
      return { kind, process: chance.between(0, workers), days: chance.one([-1, 1]), when: { at: "ms", ms: chance.between(0, 500) } };
  }
}

/** Half at a step, of which one that comes once a batch is as likely as one that comes with each chunk; the others by progress or by time. */
function momentOf(chance: Chance, steps: readonly [Step, ...Step[]]): Moment {
  const drawn = chance.next();
  if (drawn < 0.25) return { at: "rows", rows: chance.between(0, fewestItems - 1) };
  if (drawn < 0.5) return { at: "ms", ms: chance.between(0, 2_500) };
  const step = chance.one(steps);
  return { at: "step", step, hit: perChunk.has(step) ? chance.between(1, 45) : 1 };
}

const perChunk: ReadonlySet<Step> = new Set<Step>(["claim", "write part", "record", "dispatch"]);
