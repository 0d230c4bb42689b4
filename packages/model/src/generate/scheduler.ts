/**
 * What runs next. Owns the order: pure decisions over counts and budgets; refuses tensors, promises and time.
 * One decision is one run, so that between two runs rows can join, leave or be given up.
 *
 * The order: finish reading prompts that stand in a lane; let waiting rows join where there is room, first encoding their media and computing their
 * prefix; else one decode step of the lane whose turn it is. Rows join a few at a time: reading one short prompt costs nearly as much as reading eight.
 */
export interface Budget {
  /** Rows in flight. */
  readonly rows: number;
  /** Entries of K and V that lanes may hold: groups × the longest of a lane, summed. */
  readonly entries: number;
}

export interface LaneView {
  readonly key: string;
  readonly groups: number;
  readonly beams: number;
  /** Groups whose prompt isn't read to its end. */
  readonly reading: number;
  /** Entries that the longest of its groups will have at its end. */
  readonly longest: number;
}

export interface WaitingView {
  readonly lane: string;
  readonly beams: number;
  readonly entries: number;
  /** What must be computed before it can join. */
  readonly needs: "media" | "prefix" | null;
}

export interface ScheduleView {
  readonly lanes: readonly LaneView[];
  /** In the order of their arrival. */
  readonly waiting: readonly WaitingView[];
  /** The lane that decoded last. */
  readonly lastDecoded: string | null;
}

export type Action =
  | { readonly kind: "idle" }
  /** Encode one media that this waiting row or its prefix lacks. */
  | { readonly kind: "encode"; readonly waiting: number }
  /** Read a piece of this waiting row's prefix. */
  | { readonly kind: "prefix"; readonly waiting: number }
  /** These waiting rows join their lane; all of one lane. */
  | { readonly kind: "join"; readonly waiting: readonly number[] }
  /** Read a piece of the prompts that stand in the lane. */
  | { readonly kind: "read"; readonly lane: string }
  | { readonly kind: "decode"; readonly lane: string };

export function schedule(view: ScheduleView, budget: Budget): Action {
  const reading = view.lanes.find((lane) => lane.reading > 0);
  if (reading !== undefined) return { kind: "read", lane: reading.key };

  const joiners = chooseJoiners(view, budget);
  const rowsInFlight = view.lanes.reduce((sum, lane) => sum + lane.groups * lane.beams, 0);
  const alike = view.waiting.filter((row) => row.lane === view.waiting[0]?.lane).length;
  const enough = Math.min(alike, Math.max(1, Math.floor(budget.rows / 8)));
  if (joiners.length > 0 && (rowsInFlight === 0 || joiners.length >= enough)) {
    for (const kind of ["media", "prefix"] as const) {
      const lacking = joiners.find((index) => view.waiting[index]?.needs === kind);
      if (lacking !== undefined) return { kind: kind === "media" ? "encode" : "prefix", waiting: lacking };
    }
    return { kind: "join", waiting: joiners };
  }

  const busy = view.lanes.filter((lane) => lane.groups > 0);
  const after = busy.findIndex((lane) => lane.key === view.lastDecoded) + 1;
  const lane = busy[after % busy.length];
  return lane === undefined ? { kind: "idle" } : { kind: "decode", lane: lane.key };
}

/** From the front, all of the first one's lane, as many as the budget bears; one alone always may. */
function chooseJoiners({ lanes, waiting }: ScheduleView, budget: Budget): number[] {
  const [first] = waiting;
  if (first === undefined) return [];
  const own = lanes.find((lane) => lane.key === first.lane);
  const others = lanes.filter((lane) => lane !== own);
  const otherRows = others.reduce((sum, lane) => sum + lane.groups * lane.beams, 0);
  const otherEntries = others.reduce((sum, lane) => sum + lane.groups * lane.longest, 0);
  let groups = own?.groups ?? 0;
  let longest = own?.longest ?? 0;
  const empty = otherRows === 0 && groups === 0;
  const joiners: number[] = [];
  for (const [index, row] of waiting.entries()) {
    if (row.lane !== first.lane) continue;
    const tallest = Math.max(longest, row.entries);
    const fits = otherRows + (groups + 1) * row.beams <= budget.rows && otherEntries + (groups + 1) * tallest <= budget.entries;
    if (!fits && !(empty && joiners.length === 0)) break;
    joiners.push(index);
    groups += 1;
    longest = tallest;
  }
  return joiners;
}
