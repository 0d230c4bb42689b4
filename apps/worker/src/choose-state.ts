/**
 * What a batch stands at, by what S3 holds of it: the choice that a rebuild makes after a loss of Redis. Owns the order of what is believed: a seal; else what the
 * rebuild before chose, then what frontier objects named (readers may have seen it), then the first part by name. Refuses to read and to write.
 */
import {
  CodedError,
  type BatchRequest,
  type Frontier,
  type PartChoice,
  type Plan,
  type Rebuilt,
  type Seal,
  type Tally,
} from "@flamboyance/contracts";
import { replayControls, type ControlEntry, type ReplayedControls } from "@flamboyance/queue";

/** What is to be believed of a batch's objects: those of the newest rebuild's epoch or later. Others were put late, by processes that stalled. */
export interface StoredState {
  readonly base: Rebuilt | null;
  readonly seal: Seal | null;
  readonly frontiers: readonly Frontier[];
  /** Whole ones, by their names. */
  readonly plans: readonly Plan[];
  /** By their names; none of a sealed batch. */
  readonly parts: readonly (PartChoice & { readonly plan: string; readonly chunk: number })[];
  readonly controls: readonly ControlEntry[];
}

export interface ChosenState {
  readonly status: Rebuilt["status"];
  readonly controls: ReplayedControls;
  readonly plan: Plan | null;
  readonly parts: readonly (PartChoice | null)[];
  /** Of chosen parts, as frontier objects tell; the others are to be counted. */
  readonly tallies: ReadonlyMap<number, Tally>;
  readonly seal: Seal | null;
}

/** `now` and the request's deadline in Unix seconds. Throws internal_error where what is believed names a plan that isn't whole. */
export function chooseState(stored: StoredState, request: BatchRequest, now: number): ChosenState {
  const seal = stored.seal ?? sealOf(stored.base);
  const plan = choosePlan(stored, seal, request.id);
  const parts = seal === null ? believedParts(stored, plan) : [...seal.parts];
  const controls = replayControls(plan === null ? "validating" : "in_progress", request, stored.controls);
  // A batch that was expiring stays so: its deadline was not to be moved any more, and only a batch that is being stopped takes a part that was cut.
  const expires = stored.base?.status === "expiring" || parts.some((part) => part?.cut === true) || now >= controls.expiresAt;
  const status = expires && controls.status !== "cancelling" ? "expiring" : controls.status;
  const takesCut = status === "cancelling" || status === "expiring";
  if (seal === null && plan !== null) {
    for (const { plan: of, chunk, attempt, cut } of stored.parts) {
      if (of === plan.plan && chunk < plan.chunks && (takesCut || !cut)) parts[chunk] ??= { attempt, cut };
    }
  }
  return { status, controls, plan, parts, tallies: talliesOf(stored, plan, parts), seal };
}

function sealOf(base: Rebuilt | null): Seal | null {
  if (base === null || base.seal === null) return null;
  return { ...base.seal, plan: base.plan, parts: base.parts };
}

/** That of the seal, else that of the rebuild before or of a frontier, else the one that was worked on, else the first. */
function choosePlan({ base, frontiers, plans, parts }: StoredState, seal: Seal | null, id: string): Plan | null {
  const wholePlan = (name: string): Plan => {
    const found = plans.find(({ plan }) => plan === name);
    if (found === undefined) throw new CodedError("internal_error", `${id}: its plan ${name} isn't in S3`);
    return found;
  };
  if (seal !== null) return seal.plan === null ? null : wholePlan(seal.plan);
  const believed = base?.plan ?? frontiers[0]?.plan ?? null;
  if (believed !== null) return wholePlan(believed);
  const workedOn = new Set(parts.map(({ plan }) => plan));
  return plans.find(({ plan }) => workedOn.has(plan)) ?? plans[0] ?? null;
}

function believedParts({ base, frontiers }: StoredState, plan: Plan | null): (PartChoice | null)[] {
  if (plan === null) return [];
  const parts = Array.from({ length: plan.chunks }, (_, chunk) => base?.parts[chunk] ?? null);
  for (const { from, parts: named } of frontiers.filter((frontier) => frontier.plan === plan.plan)) {
    for (const [index, { attempt, cut }] of named.entries()) parts[from + index] ??= { attempt, cut };
  }
  return parts;
}

function talliesOf({ frontiers }: StoredState, plan: Plan | null, parts: readonly (PartChoice | null)[]): Map<number, Tally> {
  const tallies = new Map<number, Tally>();
  for (const { from, parts: named } of frontiers.filter((frontier) => frontier.plan === plan?.plan)) {
    for (const [index, { attempt, tally }] of named.entries()) {
      if (parts[from + index]?.attempt === attempt) tallies.set(from + index, tally);
    }
  }
  return tallies;
}
