import { createHash } from "node:crypto";
import type { Batch, End, ResultLine } from "@flamboyance/contracts";
import type { BatchRecord } from "@flamboyance/queue";
import { describe, expect, it } from "vitest";
import type { SeenRetry } from "./check-retry.ts";
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
const plan: RoundPlan = { number: 1, manifest: 0, rowMs: 0, faults: [], wish: { kind: "none" }, retry: false };

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
  retry: null,
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

describe("a retry's laws", () => {
  const again = lines.map((line) => ({ ...line, id: line.id.replace("req_x", "req_y") }));
  type Ran = Extract<SeenRetry, { kind: "ran" }>;
  const { batch } = seen({});
  const own = {
    batch: { ...batch, retry_of: batch.id },
    record,
    end,
    lines: again,
    shown: again,
    files: { output: bytes, errors: bytes },
  };
  const ran = (changes: Partial<Ran> = {}): Ran => ({ kind: "ran", retry: own, merged: again, endBefore: end, ...changes });
  const of = (all: readonly ResultLine[]) => ran({ retry: { ...own, lines: all, shown: all }, merged: all });
  const retryLaws = (retry: SeenRetry, changes: Partial<Seen> = {}) => laws({ retry, ...changes });

  it("hold where all is right", () => {
    expect(brokenLaws(seen({ retry: ran() }))).toEqual([]);
  });

  it("name an item that didn't run again, and one that shouldn't have", () => {
    expect(retryLaws(of(again.slice(1)))).toContain("lost");
    expect(retryLaws(of([...again, ...again.slice(1)]))).toContain("doubled");
    const done: ResultLine = {
      id: "batch_req_x-0",
      custom_id: "a",
      response: { status_code: 200, request_id: "r", body: { choices: [], usage: {} } as never },
      error: null,
    };
    const counted = { total: 2, completed: 1, failed: 1 };
    const followed: Partial<Seen> = {
      ...shown([done, ...lines.slice(1)]),
      manifest: { ...seen({}).manifest, truth: [saying(done), "404 image_unsupported"] },
      batch: { ...batch, request_counts: counted },
      end: { ...end, counts: counted },
      record: { ...record, completed: 1, failed: 1 },
    };
    expect(laws(followed)).toEqual([]);
    expect(retryLaws(ran({ endBefore: { ...end, counts: counted } }), followed)).toContain("doubled");
  });

  it("leave out lines that the plan refused", () => {
    const refused: ResultLine = {
      id: "batch_req_x-1-line-2",
      custom_id: "b",
      response: null,
      error: { code: "invalid_line", message: "m", line: 2 },
    };
    const first = lines.slice(0, 1);
    const followed: Partial<Seen> = {
      ...shown([...first, refused]),
      manifest: { ...seen({}).manifest, truth: [...first, refused].map(saying) },
    };
    expect(laws(followed)).toEqual([]);
    expect(retryLaws(of(again), followed)).toContain("doubled");
    const one = { total: 1, completed: 0, failed: 1 };
    const right = ran({
      retry: {
        ...own,
        batch: { ...own.batch, request_counts: one },
        end: { ...end, counts: one },
        record: { ...record, items: 1, failed: 1 },
        lines: again.slice(0, 1),
        shown: again.slice(0, 1),
      },
      merged: [...again.slice(0, 1), refused],
    });
    expect(retryLaws(right, followed)).toEqual([]);
  });

  it.each<[string, SeenRetry]>([
    ["a refusal where items failed", { kind: "refused", code: "nothing_to_retry" }],
    ["lines out of order", of(again.toReversed())],
    ["another text", of([failed("a", 0, "image_forbidden"), failed("b", 1, "image_unsupported")])],
    ["an item under another number", of([failed("a", 5, "image_not_found"), failed("b", 6, "image_unsupported")])],
    ["an end of the retry that nobody asked for", ran({ retry: { ...own, batch: { ...own.batch, status: "expired" } } })],
    ["a retry of nothing", ran({ retry: { ...own, batch: { ...own.batch, retry_of: null } } })],
    ["an older line where a newer one stands", ran({ merged: lines })],
    ["an item twice where the lineage is read as one", ran({ merged: [...again, ...again.slice(1)] })],
    ["an item that is missing there", ran({ merged: again.slice(0, 1) })],
    ["an end that changed", ran({ endBefore: { ...end, seal: "t" } })],
  ])("name %s", (_, retry) => {
    expect(retryLaws(retry)).toContain("wrong");
  });

  it("want the refusal that the ended batch implies", () => {
    const unplanned: Partial<Seen> = {
      plan: { ...plan, wish: { kind: "cancel", rows: 0 } },
      ...shown([]),
      files: null,
      batch: { ...batch, status: "cancelled", request_counts: { total: 0, completed: 0, failed: 0 } },
      end: { ...end, status: "cancelled", counts: { total: 0, completed: 0, failed: 0 }, files: null },
      record: { ...record, status: "cancelled", items: 0, failed: 0 },
    };
    expect(retryLaws({ kind: "refused", code: "conflict" }, unplanned)).toEqual([]);
    expect(retryLaws({ kind: "refused", code: "nothing_to_retry" }, unplanned)).toEqual(["wrong"]);
    expect(retryLaws(of([]), unplanned)).toContain("wrong");
  });

  it("bear the poison's deaths in each batch, and an expiry where the window is short", () => {
    const poison = { kind: "poison image", when: { at: "ms", ms: 0 } } as const;
    const manifest = { ...seen({}).manifest, poisoned: -1 };
    const rows = { asked: 62, different: 2 };
    expect(laws({ met: [poison], manifest, rows })).toEqual(["wrong"]);
    expect(retryLaws(ran(), { met: [poison], manifest, rows })).toEqual([]);
    const expired: Partial<Ran> = {
      retry: {
        ...own,
        batch: { ...own.batch, status: "expired" },
        end: { ...end, status: "expired" },
        record: { ...record, status: "expired" },
      },
    };
    expect(retryLaws(ran(expired))).toEqual(["wrong"]);
    expect(retryLaws(ran(expired), { plan: { ...plan, wish: { kind: "expiry", seconds: 1 } } })).toEqual([]);
  });
});
