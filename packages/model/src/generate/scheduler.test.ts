import { describe, expect, it } from "vitest";
import { schedule, type LaneView, type ScheduleView, type WaitingView } from "./scheduler.ts";

const budget = { rows: 16, entries: 1000 };
const lane = (over: Partial<LaneView> = {}): LaneView => ({ key: "a", groups: 4, beams: 1, reading: 0, longest: 30, ...over });
const row = (over: Partial<WaitingView> = {}): WaitingView => ({ lane: "a", beams: 1, entries: 30, needs: null, ...over });
const view = (over: Partial<ScheduleView>): ScheduleView => ({ lanes: [], waiting: [], lastDecoded: null, ...over });

describe("the scheduler", () => {
  it("idles where nothing waits and nothing runs", () => {
    expect(schedule(view({}), budget)).toEqual({ kind: "idle" });
  });

  it("reads prompts to their end before anything else", () => {
    const found = schedule(view({ lanes: [lane(), lane({ key: "b", reading: 1 })], waiting: [row()] }), budget);
    expect(found).toEqual({ kind: "read", lane: "b" });
  });

  it("encodes media, then computes the prefix, then lets rows join", () => {
    const waiting = [row(), row({ needs: "media" }), row({ needs: "prefix" })];
    expect(schedule(view({ waiting }), budget)).toEqual({ kind: "encode", waiting: 1 });
    expect(schedule(view({ waiting: [row(), row({ needs: "prefix" })] }), budget)).toEqual({ kind: "prefix", waiting: 1 });
    expect(schedule(view({ waiting: [row(), row()] }), budget)).toEqual({ kind: "join", waiting: [0, 1] });
  });

  it("lets only rows of the first one's lane join together", () => {
    const found = schedule(view({ waiting: [row(), row({ lane: "b" }), row()] }), budget);
    expect(found).toEqual({ kind: "join", waiting: [0, 2] });
  });

  it("keeps to the budget of rows, beams counted", () => {
    const waiting = Array.from({ length: 9 }, () => row({ beams: 3 }));
    const found = schedule(view({ lanes: [lane({ key: "b", groups: 3 })], waiting }), budget);
    expect(found).toEqual({ kind: "join", waiting: [0, 1, 2, 3] });
  });

  it("keeps to the budget of entries, which the longest of a lane sets for all", () => {
    const waiting = [row(), row({ entries: 300 }), row({ entries: 30 })];
    expect(schedule(view({ waiting }), { rows: 16, entries: 800 })).toEqual({ kind: "join", waiting: [0, 1] });
  });

  it("lets one row alone run though it is past every budget", () => {
    expect(schedule(view({ waiting: [row({ beams: 40, entries: 5000 })] }), budget)).toEqual({ kind: "join", waiting: [0] });
  });

  it("decodes on while too few could join for a run to be worth it", () => {
    const waiting = [row(), row(), row()];
    expect(schedule(view({ lanes: [lane({ groups: 15 })], waiting }), budget)).toEqual({ kind: "decode", lane: "a" });
    expect(schedule(view({ lanes: [lane({ groups: 14 })], waiting }), budget)).toEqual({ kind: "join", waiting: [0, 1] });
  });

  it("lets the last row that waits join at once", () => {
    expect(schedule(view({ lanes: [lane({ groups: 15 })], waiting: [row()] }), budget)).toEqual({ kind: "join", waiting: [0] });
  });

  it("gives every lane its turn", () => {
    const lanes = [lane(), lane({ key: "b" }), lane({ key: "c" })];
    const turns = ["a", "b", "c"].map((lastDecoded) => schedule(view({ lanes, lastDecoded }), budget));
    expect(turns.map((turn) => "lane" in turn && turn.lane)).toEqual(["b", "c", "a"]);
  });
});
