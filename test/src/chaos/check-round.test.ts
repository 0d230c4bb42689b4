import { createHash } from "node:crypto";
import type { Batch, End, ResultLine } from "@flamboyance/contracts";
import type { BatchRecord } from "@flamboyance/queue";
import { describe, expect, it } from "vitest";
import { brokenLaws, type Seen } from "./check-round.ts";
import { saying } from "./manifests.ts";
import type { RoundPlan } from "./plan-round.ts";

const failed = (custom_id: string, item: number, code: string): ResultLine => ({
  id: `batch_req_x-${item}`,
  custom_id,
  response: {
    status_code: 404,
    request_id: `req_x-${item}`,
    body: { error: { message: "m", type: "invalid_request_error", param: null, code } },
  },
  error: null,
});
const lines = [failed("a", 0, "image_not_found"), failed("b", 1, "image_unsupported")];
const counts = { total: 2, completed: 0, failed: 2 };
const bytes = Buffer.from("x");
const sha256 = createHash("sha256").update(bytes).digest("hex");
const file = { key: "k", sha256, lines: 2 };
const end = { seal: "s", status: "completed", counts, files: { output: file, errors: file, summary: file } } as unknown as End;
const record = { status: "completed", seal: "s", settled: true, items: 2, refused: 0, completed: 0, failed: 2 } as unknown as BatchRecord;
const plan: RoundPlan = { number: 1, manifest: 0, rowMs: 0, faults: [], wish: { kind: "none" } };

/** A round in which all is right, but for what is given. */
const seen = (changes: Partial<Seen>): Seen => ({
  plan,
  manifest: { input: "s3://b/m.jsonl", customIds: ["a", "b"], truth: lines.map(saying), poisonSha256: "", poisoned: 1 },
  batch: { status: "completed", request_counts: counts } as unknown as Batch,
  record,
  end,
  lines,
  shown: lines,
  files: { output: bytes, errors: bytes },
  cancelled: false,
  rows: { asked: 2, different: 2 },
  met: [],
  ...changes,
});
const laws = (changes: Partial<Seen>) => [...new Set(brokenLaws(seen(changes)).map(({ law }) => law))];
const shown = (all: readonly ResultLine[]) => ({ lines: all, shown: all });

describe("a round's laws", () => {
  it("hold where all is right", () => {
    expect(brokenLaws(seen({}))).toEqual([]);
  });

  it("name an item without a line, one with two, and one that isn't the manifest's", () => {
    expect(laws(shown(lines.slice(1)))).toContain("lost");
    expect(laws(shown([...lines, ...lines.slice(1)]))).toContain("doubled");
    expect(laws(shown([...lines, failed("c", 2, "image_not_found")]))).toContain("doubled");
  });

  it.each<[string, Partial<Seen>]>([
    ["lines out of order", shown(lines.toReversed())],
    ["another text", shown([failed("a", 0, "image_forbidden"), failed("b", 1, "image_unsupported")])],
    ["a line of a cancel in a batch that completed", shown([failed("a", 0, "batch_cancelled"), failed("b", 1, "image_unsupported")])],
    ["counts that aren't the lines'", { batch: { status: "completed", request_counts: { ...counts, failed: 1 } } as unknown as Batch }],
    ["a line that changed after it was shown", { shown: [failed("a", 0, "image_forbidden"), failed("b", 1, "image_unsupported")] }],
    ["a line that a follower never saw", { shown: lines.slice(1) }],
    ["an end that nobody asked for", { batch: { status: "cancelled", request_counts: counts } as unknown as Batch }],
    ["an answered cancel that is forgotten", { cancelled: true }],
    ["no end.json", { end: null }],
    ["an end.json of another status", { end: { ...end, status: "expired" } }],
    ["another seal in Redis", { record: { ...record, seal: "t" } }],
    ["a record that isn't settled", { record: { ...record, settled: false } }],
    ["a file with other bytes than end.json names", { files: { output: bytes, errors: Buffer.from("y") } }],
    ["items that ran again without a reason", { rows: { asked: 3, different: 2 } }],
  ])("name %s", (_, changes) => {
    expect(laws(changes)).toContain("wrong");
  });

  it("want the poisoned item quarantined, and no other, where there was poison", () => {
    const met = [{ kind: "poison image", when: { at: "ms", ms: 0 } }] as const;
    const quarantined = (custom_id: string, item: number): ResultLine => {
      const line = failed(custom_id, item, "poison_item");
      return { ...line, response: line.response === null ? null : { ...line.response, status_code: 500 } };
    };
    expect(laws({ met, ...shown([failed("a", 0, "image_not_found"), quarantined("b", 1)]) })).toEqual([]);
    expect(laws({ met })).toEqual(["wrong"]);
    expect(laws({ met, ...shown([quarantined("a", 0), quarantined("b", 1)]) })).toEqual(["wrong"]);
    expect(laws(shown([failed("a", 0, "image_not_found"), quarantined("b", 1)]))).toEqual(["wrong"]);
  });

  it("let a killed worker's items run again, as many as it had in hand", () => {
    const kill = { kind: "worker killed", worker: 0, when: { at: "ms", ms: 0 } } as const;
    expect(laws({ met: [kill], rows: { asked: 10, different: 2 } })).toEqual([]);
    expect(laws({ met: [kill], rows: { asked: 11, different: 2 } })).toEqual(["wrong"]);
  });
});
