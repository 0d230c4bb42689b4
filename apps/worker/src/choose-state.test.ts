import type { Control, Frontier, PartChoice, Plan, Rebuilt, Seal, Tally } from "@flamboyance/contracts";
import { describe, expect, it } from "vitest";
import { chooseState, type StoredState } from "./choose-state.ts";
import { noTally } from "./result-tally.ts";
import { requestOf } from "./testing/request.ts";

const request = requestOf({ expires_at: 1_000 });
const early = 500;
const nothing: StoredState = { base: null, seal: null, frontiers: [], plans: [], parts: [], controls: [] };
const chosen = (stored: Partial<StoredState>, now = early) => chooseState({ ...nothing, ...stored }, request, now);

const planOf = (plan: string, chunks = 3): Plan => ({
  plan,
  items: 4 * chunks,
  chunks,
  refused: 0,
  items_sha256: "",
  stored_bytes: 0,
  examples: [],
});
const whole = (attempt: string): PartChoice => ({ attempt, cut: false });
const cut = (attempt: string): PartChoice => ({ attempt, cut: true });
const part = (plan: string, chunk: number, choice: PartChoice) => ({ plan, chunk, ...choice });
const tally: Tally = { ...noTally, completed: 4 };
const frontierOf = (from: number, parts: PartChoice[], plan = "p"): Frontier => ({
  epoch: 5,
  plan,
  from,
  chunks: from + parts.length,
  parts: parts.map((choice) => ({ ...choice, tally })),
});
const baseOf = (fields: Partial<Rebuilt> = {}): Rebuilt => ({
  epoch: 5,
  status: "in_progress",
  plan: "p",
  parts: [null, null, null],
  shown: { chunks: 0, tally: noTally },
  seal: null,
  ...fields,
});
const sealOf = (fields: Partial<Seal> = {}): Seal => ({
  seal: "s",
  outcome: "completed",
  plan: "p",
  parts: [whole("a"), whole("b"), whole("c")],
  sealed_at: 600,
  in_progress_at: 400,
  cancelling_at: null,
  errors: [],
  ...fields,
});
const asked = (...kinds: ("cancel" | "pause" | "resume")[]) =>
  kinds.map((kind, index) => ({ number: index + 1, at: 300, control: { kind } satisfies Control }));

describe("the plan", () => {
  it("is none before one is whole: then the batch is planned anew", () => {
    expect(chosen({})).toMatchObject({ status: "validating", plan: null, parts: [], seal: null });
  });

  it("is the first whole one, where none was worked on: it need not have been adopted", () => {
    expect(chosen({ plans: [planOf("p"), planOf("q")] })).toMatchObject({
      status: "in_progress",
      plan: { plan: "p" },
      parts: [null, null, null],
    });
  });

  it("is the one that was worked on", () => {
    const parts = [part("q", 1, whole("a"))];
    expect(chosen({ plans: [planOf("p"), planOf("q")], parts })).toMatchObject({ plan: { plan: "q" }, parts: [null, whole("a"), null] });
  });

  it("is the one that a frontier names, before any by its parts", () => {
    const stored = { plans: [planOf("p"), planOf("q")], parts: [part("p", 0, whole("a"))], frontiers: [frontierOf(0, [whole("b")], "q")] };
    expect(chosen(stored)).toMatchObject({ plan: { plan: "q" }, parts: [whole("b"), null, null] });
  });

  it("is the one that the rebuild before chose, before all", () => {
    const stored = { base: baseOf({ plan: "q" }), plans: [planOf("p"), planOf("q")], parts: [part("p", 0, whole("a"))] };
    expect(chosen(stored)).toMatchObject({ plan: { plan: "q" }, parts: [null, null, null] });
  });

  it("is never one that isn't whole", () => {
    expect(() => chosen({ base: baseOf(), plans: [planOf("q")] })).toThrow("its plan p isn't in S3");
    expect(() => chosen({ frontiers: [frontierOf(0, [whole("a")])] })).toThrow("its plan p isn't in S3");
  });
});

describe("a chunk's part", () => {
  it("is the first by name, of the chosen plan", () => {
    const parts = [part("p", 0, whole("a")), part("p", 0, whole("b")), part("q", 1, whole("a")), part("p", 2, whole("c"))];
    expect(chosen({ plans: [planOf("p"), planOf("q")], parts }).parts).toEqual([whole("a"), null, whole("c")]);
  });

  it("is the one that was shown, whatever stands before it by name", () => {
    const stored = {
      plans: [planOf("p")],
      frontiers: [frontierOf(0, [whole("y")])],
      parts: [part("p", 0, whole("a")), part("p", 1, whole("b"))],
    };
    expect(chosen(stored).parts).toEqual([whole("y"), whole("b"), null]);
  });

  it("is the one of the rebuild before, which readers saw too", () => {
    const stored = {
      base: baseOf({ parts: [whole("z"), null, whole("x")] }),
      plans: [planOf("p")],
      frontiers: [frontierOf(1, [whole("y")])],
      parts: [part("p", 0, whole("a")), part("p", 2, whole("a"))],
    };
    expect(chosen(stored).parts).toEqual([whole("z"), whole("y"), whole("x")]);
  });

  it("that was cut counts only where the batch is being stopped", () => {
    const parts = [part("p", 0, cut("a")), part("p", 0, whole("b")), part("p", 1, cut("a"))];
    const plans = [planOf("p")];
    expect(chosen({ plans, parts }).parts).toEqual([whole("b"), null, null]);
    expect(chosen({ plans, parts, controls: asked("cancel") }).parts).toEqual([cut("a"), cut("a"), null]);
    expect(chosen({ plans, parts }, 1_000)).toMatchObject({ status: "expiring", parts: [cut("a"), cut("a"), null] });
  });

  it("brings its tally where a frontier tells it of this very part", () => {
    const stored = {
      base: baseOf({ parts: [whole("z"), null, null] }),
      plans: [planOf("p")],
      frontiers: [frontierOf(0, [whole("y"), whole("x")])],
    };
    expect([...chosen(stored).tallies]).toEqual([[1, tally]]);
  });
});

describe("the status", () => {
  const plans = [planOf("p")];
  it.each([
    ["in_progress", []],
    ["paused", ["pause"]],
    ["in_progress", ["pause", "resume"]],
    ["cancelling", ["pause", "cancel", "resume"]],
  ] as const)("is %s after the controls %j", (status, kinds) => {
    expect(chosen({ plans, controls: asked(...kinds) }).status).toBe(status);
  });

  it("is expiring from the deadline on, unless the batch is being cancelled", () => {
    expect(chosen({ plans }, 999).status).toBe("in_progress");
    expect(chosen({ plans, controls: asked("pause") }, 1_000).status).toBe("expiring");
    expect(chosen({}, 1_000).status).toBe("expiring");
    expect(chosen({ plans, controls: asked("cancel") }, 1_000).status).toBe("cancelling");
  });

  it("that was expiring stays so, and a cut part that was shown is proof of it", () => {
    expect(chosen({ plans, base: baseOf({ status: "expiring" }) }).status).toBe("expiring");
    expect(chosen({ plans, frontiers: [frontierOf(0, [cut("a")])] }).status).toBe("expiring");
    expect(chosen({ plans, base: baseOf({ status: "expiring" }), controls: asked("cancel") }).status).toBe("cancelling");
  });

  it("that was paused then isn't, where the log says so: the rebuild before holds no status of its own", () => {
    expect(chosen({ plans, base: baseOf({ status: "paused" }), controls: asked("pause", "resume") }).status).toBe("in_progress");
  });
});

describe("a seal", () => {
  it("decides plan, parts and outcome, whatever else there is", () => {
    const seal = sealOf({ outcome: "cancelled", parts: [whole("a"), null, null] });
    const stored = { seal, plans: [planOf("p"), planOf("q")], frontiers: [frontierOf(0, [whole("a")])], base: baseOf({ plan: "p" }) };
    expect(chosen(stored, 2_000)).toMatchObject({ seal, plan: { plan: "p" }, parts: seal.parts });
    expect([...chosen(stored).tallies]).toEqual([[0, tally]]);
  });

  it("may be without a plan", () => {
    const seal = sealOf({ outcome: "failed", plan: null, parts: [] });
    expect(chosen({ seal, plans: [planOf("p")] })).toMatchObject({ seal, plan: null, parts: [] });
  });

  it("that the rebuild before chose is the seal, with its parts", () => {
    const { plan, parts, ...sealing } = sealOf();
    const stored = { base: baseOf({ plan, parts, seal: sealing }), plans: [planOf("p")] };
    expect(chosen(stored)).toMatchObject({ seal: sealOf(), parts });
  });
});
