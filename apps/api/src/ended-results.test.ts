import { failedLine, refusedResultLine, succeededLine, type ResultLine } from "@flamboyance/contracts";
import type { Location, Storage } from "@flamboyance/storage";
import { describe, expect, it } from "vitest";
import { endedPage } from "./ended-results.ts";
import { firstCursor, lineageOf, type ResultsCursor } from "./results-cursor.ts";
import type { PageRequest } from "./running-results.ts";

const batchId = "batch_01hzzzzzzzzzzzzzzzzzzzzzzz";
const signal = new AbortController().signal;

// 60 items: every third fails, two lines were refused before item 20 and one behind the last. Texts differ in length, some hold characters of several bytes.
const refused = (line: number, beforeItem: number) =>
  refusedResultLine(batchId, { code: "invalid_line", message: "m", param: null, line, custom_id: null, before_item: beforeItem });
const lines: ResultLine[] = [];
for (let item = 0; item < 60; item++) {
  if (item === 20) lines.push(refused(21, 20), refused(22, 20));
  const identity = { batchId, item, customId: `item ${item}` };
  lines.push(
    item % 3 === 2 ? failedLine(identity, "image_not_found", "gone") : succeededLine(identity, completion(`é${"a ".repeat(item % 7)}`)),
  );
}
lines.push(refused(63, 60));
const wasCompleted = (line: ResultLine) => line.response?.status_code === 200;
const ids = (some: readonly ResultLine[]) => some.map((line) => line.id);

const sealOf = (seal: string, some: readonly ResultLine[]) => ({
  seal,
  files: {
    output: file(`${seal}/output`, some.filter(wasCompleted)),
    errors: file(
      `${seal}/errors`,
      some.filter((line) => !wasCompleted(line)),
    ),
    summary: { key: "summary", sha256: "" },
  },
});
const seal1 = sealOf("seal1", lines);
const ended = { bucket: "service", ended: [seal1] };

it("merges the two files into the manifest's order, page by page", async () => {
  for (const limit of [1, 7, 1_000]) {
    const pages = await readAll({ limit, only: null });
    expect(ids(pages.flat())).toEqual(ids(lines));
    expect(pages.slice(0, -1).every((page) => page.length === limit)).toBe(true);
  }
});

it("gives only completed or only failed lines", async () => {
  expect(ids((await readAll({ limit: 4, only: "completed" })).flat())).toEqual(ids(lines.filter(wasCompleted)));
  expect(ids((await readAll({ limit: 4, only: "failed" })).flat())).toEqual(ids(lines.filter((line) => !wasCompleted(line))));
});

it("goes on behind any line that was given while the batch ran", async () => {
  for (const [index, line] of lines.entries()) {
    const [, item, refusedLine] = /-(\d+)(?:-line-(\d+))?$/.exec(line.id) ?? [];
    const cursor = {
      ...firstCursor(batchId),
      last: { item: Number(item), refusedLine: refusedLine === undefined ? null : Number(refusedLine) },
    };
    const page = await endedPage(storage(), ended, { cursor, limit: 3, only: null }, signal);
    expect(ids(page.lines)).toEqual(ids(lines.slice(index + 1, index + 4)));
    expect(page.more).toBe(index + 4 < lines.length);
  }
});

it("doesn't believe offsets of another seal", async () => {
  const cursor: ResultsCursor = {
    ...firstCursor(batchId),
    last: { item: 0, refusedLine: null },
    files: [{ seal: "another", outputBytes: 9_999, errorsBytes: 9_999 }],
  };
  const page = await endedPage(storage(), ended, { cursor, limit: 1, only: null }, signal);
  expect(ids(page.lines)).toEqual(ids(lines.slice(1, 2)));
});

it("refuses offsets of its seal at which no line begins", async () => {
  for (const outputBytes of [1, 50, 1_000]) {
    const cursor: ResultsCursor = { ...firstCursor(batchId), files: [{ seal: "seal1", outputBytes, errorsBytes: 0 }] };
    await expect(endedPage(storage(), ended, { cursor, limit: 3, only: null }, signal)).rejects.toMatchObject({
      code: "invalid_cursor",
      param: "after",
    });
  }
});

it("has no lines where the batch ended without a plan", async () => {
  const page = await endedPage(
    storage(),
    { ...ended, ended: [{ seal: "", files: null }] },
    { cursor: firstCursor(batchId), limit: 10, only: null },
    signal,
  );
  expect(page).toMatchObject({ lines: [], more: false });
});

describe("with retries", () => {
  // A retry of all 20 failed items, where every second one fails again (8, 17, …), then one of these, of which 53 alone succeeds.
  const numbered = (batch: string, numbers: readonly number[], fails: (number: number) => boolean) =>
    numbers.map((item) => {
      const identity = { batchId: batch, item, customId: `item ${item}` };
      return fails(item) ? failedLine(identity, "item_failed", "again") : succeededLine(identity, completion("made good"));
    });
  const failed = Array.from({ length: 20 }, (_, at) => 3 * at + 2);
  const retry1 = numbered("batch_01hzzzzzzzzzzzzzzzzzzzzz01", failed, (item) => item % 6 === 5);
  const retry2 = numbered(
    "batch_01hzzzzzzzzzzzzzzzzzzzzz02",
    failed.filter((item) => item % 6 === 5),
    (item) => item !== 53,
  );
  const all = [lines, retry1, retry2];
  const lineage = { bucket: "service", ended: [seal1, sealOf("seal2", retry1), sealOf("seal3", retry2)] };
  const newest = lines.map((line) => {
    const place = (other: ResultLine) => other.custom_id === line.custom_id && line.custom_id !== null;
    return retry2.find(place) ?? retry1.find(place) ?? line;
  });

  it.each([1, 7, 1_000])("gives the newest line of each item, in the first batch's order, by %i", async (limit) => {
    const pages = await readAll({ limit, only: null }, lineage, all);
    expect(ids(pages.flat())).toEqual(ids(newest));
  });

  it("knows which are completed and which failed by the newest line", async () => {
    for (const limit of [1, 7, 1_000]) {
      expect(ids((await readAll({ limit, only: "completed" }, lineage, all)).flat())).toEqual(ids(newest.filter(wasCompleted)));
      const still = newest.filter((line) => !wasCompleted(line));
      expect(ids((await readAll({ limit, only: "failed" }, lineage, all)).flat())).toEqual(ids(still));
    }
  });

  it("goes on behind a line without offsets too", async () => {
    const cursor = { ...firstCursor(batchId, lineageOf(["1", "2", "3"])), last: { item: 30, refusedLine: null } };
    const page = await endedPage(storage(all), lineage, { cursor, limit: 4, only: null }, signal);
    expect(page.lines.map(({ custom_id }) => custom_id)).toEqual(["item 31", "item 32", "item 33", "item 34"]);
  });
});

async function readAll(request: Pick<PageRequest, "limit" | "only">, from = ended, stored = [lines]): Promise<(readonly ResultLine[])[]> {
  const pages: (readonly ResultLine[])[] = [];
  for (let cursor = firstCursor(batchId); ;) {
    const page = await endedPage(storage(stored), from, { cursor, ...request }, signal);
    pages.push(page.lines);
    if (!page.more) return pages;
    cursor = page.next;
  }
}

function file(key: string, some: readonly ResultLine[]) {
  return { key, sha256: "", lines: some.length };
}

/** Holds the files of seal1, seal2, …: of these batches' lines. */
function storage(batches: readonly (readonly ResultLine[])[] = [lines]): Storage {
  const text = (key: string) =>
    (batches[Number(key.slice("seal".length).split("/")[0]) - 1] ?? [])
      .filter((line) => wasCompleted(line) === key.endsWith("output"))
      .map((line) => `${JSON.stringify(line)}\n`)
      .join("");
  return {
    describe: ({ key }: Location) => Promise.resolve({ sizeBytes: Buffer.byteLength(text(key)) }),
    stream: async function* ({ key }: Location, { offsetBytes = 0 }: { offsetBytes?: number }) {
      const bytes = Buffer.from(text(key)).subarray(offsetBytes);
      for (let at = 0; at < bytes.length; at += 100) yield await Promise.resolve(bytes.subarray(at, at + 100));
    },
  } as unknown as Storage;
}

function completion(content: string) {
  return {
    created: 1,
    model: "m",
    choices: [
      { index: 0, message: { role: "assistant" as const, content, refusal: null }, finish_reason: "stop" as const, logprobs: null },
    ],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, prompt_tokens_details: { cached_tokens: 0 } },
  };
}
