/** What may be asked of a batch in which status: every cell of the table in docs/life-of-a-batch.md, asked of the api on a real Redis. */
import { readFileSync } from "node:fs";
import { newUlid } from "@flamboyance/queue";
import { batchKeys } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callsOf } from "./calls.ts";
import { finish, plan, record, type HandPlan } from "./hand-worker.ts";
import { modelKey, serviceBucket, startService, type Service } from "./service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const { submitted, stored, controlLog } = callsOf(() => service);
const post = (id: string, path: string, body?: object) =>
  service.ask(`/v1/batches/${id}/${path}`, { method: "POST", ...(body === undefined ? {} : { body }) });

const document = readFileSync(new URL("../../../docs/life-of-a-batch.md", import.meta.url), "utf8");
const table = readTable("status", "cancel");
const reasons = new Map(readTable("refused").map((row) => [row["refused"] ?? "", row["the message ends with"] ?? ""]));

const requests: Readonly<Record<string, (id: string) => ReturnType<typeof post>>> = {
  cancel: (id) => post(id, "cancel"),
  pause: (id) => post(id, "pause"),
  resume: (id) => post(id, "resume"),
  priority: (id) => post(id, "priority", { priority: 4 }),
  deadline: (id) => post(id, "deadline", { completion_window: "48h" }),
  retry: (id) => post(id, "retry"),
  delete: (id) => service.ask(`/v1/batches/${id}`, { method: "DELETE" }),
};

/** Two chunks, of which the first runs and the second waits: a stopped batch isn't sealed before its part is there. */
async function running(id: string): Promise<HandPlan> {
  const made = await plan(service, id, [1, 1], [], { fails: () => "image_not_found" });
  await service.queue.dispatch(modelKey);
  await service.queue.claim({ id, chunk: 0, attempt: newUlid(), dispatch: 1, worker: "by-hand" });
  return made;
}

/** A batch whose deadline passed long ago. */
async function late(): Promise<string> {
  const request = { ...(await stored(batchKeys(await submitted()).request)), id: `batch_${newUlid()}`, expires_at: 1 };
  await service.put(serviceBucket, batchKeys(request.id).request, JSON.stringify(request));
  await service.queue.submit(request);
  return request.id;
}

async function stopped(how: "cancelled" | "expired"): Promise<HandPlan> {
  const id = how === "cancelled" ? await submitted() : await late();
  const made = await plan(service, id, [1, 1], [], { fails: () => "image_not_found" });
  if (how === "cancelled") await post(id, "cancel");
  else await service.queue.expire(id);
  await recordStopped(made);
  return made;
}

/** The parts of a batch in which no chunk starts any more: whoever holds one may still record it. */
async function recordStopped({ id, plan: name, chunks }: HandPlan): Promise<void> {
  for (const chunk of chunks.keys()) {
    const attempt = newUlid();
    const tally = { completed: 0, failed: 1, input_tokens: 0, cached_tokens: 0, output_tokens: 0, stored_bytes: 0 };
    await service.queue.record({ id, chunk, plan: name, attempt, cut: false, tally });
  }
}

async function completed(): Promise<HandPlan> {
  const made = await plan(service, await submitted(), [1, 1], [], { fails: () => "image_not_found" });
  await record(service, made, [0, 1]);
  return made;
}

/** How a batch comes to be in each row's status. */
const made: Readonly<Record<string, () => Promise<string>>> = {
  validating: () => submitted(),
  in_progress: async () => (await running(await submitted())).id,
  paused: async () => {
    const { id } = await running(await submitted());
    await post(id, "pause");
    return id;
  },
  cancelling: async () => {
    const { id } = await running(await submitted());
    await post(id, "cancel");
    return id;
  },
  "finalizing, the deadline passed": async () => {
    const { id } = await running(await late());
    expect(await service.queue.expire(id)).toEqual({ kind: "expiring" });
    return id;
  },
  "finalizing, after a cancel": async () => {
    const { id } = await stopped("cancelled");
    await service.queue.seal({ id, seal: newUlid(), outcome: "cancelled" });
    return id;
  },
  finalizing: async () => {
    const { id } = await completed();
    await service.queue.seal({ id, seal: newUlid(), outcome: "completed" });
    return id;
  },
  completed: async () => {
    const batch = await completed();
    await finish(service, batch);
    return batch.id;
  },
  failed: async () => {
    const id = await submitted();
    await service.queue.refusePlan({ id, errors: [] });
    const seal = (await service.queue.batch(id))?.seal ?? "";
    const other = await completed();
    const end = { ...(await finish(service, other)), seal, status: "failed" as const, files: null };
    await service.queue.end({ id, end });
    return id;
  },
  expired: async () => {
    const batch = await stopped("expired");
    await finish(service, batch);
    return batch.id;
  },
  cancelled: async () => {
    const batch = await stopped("cancelled");
    await finish(service, batch);
    return batch.id;
  },
};

it("has a row for every status and a column for every request", () => {
  expect(table.map((row) => row["status"])).toEqual(Object.keys(made));
  expect(Object.keys(table[0] ?? {})).toEqual(["status", ...Object.keys(requests)]);
  expect([...reasons.keys()]).toEqual(Object.keys(requests));
});

describe.each(table.map((row) => ({ row, status: row["status"] ?? "" })))("a batch that is $status", ({ row, status }) => {
  const make = () => made[status]?.() ?? Promise.reject(new Error(`nobody makes a batch that is ${status}`));
  const shown = status.replace(/,.*/, "");
  const asked = Object.entries(requests).map(([request, ask]) => ({ request, ask, answer: row[request] ?? "" }));

  it("is refused what its status doesn't allow, with the reason, and stays as it was", async () => {
    const id = await make();
    const before = await service.ask(`/v1/batches/${id}`);
    expect(before.body.status).toBe(shown);
    const log = await controlLog(id);
    for (const { request, ask, answer } of asked) {
      if (answer !== "409") continue;
      const reason = request === "retry" && shown === "failed" ? "ended without a plan" : `is ${shown}: ${reasons.get(request) ?? "?"}.`;
      const refusal = await ask(id);
      expect(refusal, request).toMatchObject({ status: 409, body: { error: { code: "conflict", type: "invalid_request_error" } } });
      expect(refusal.body.error.message, request).toContain(`${id} ${reason}`);
    }
    expect((await service.ask(`/v1/batches/${id}`)).body).toEqual(before.body);
    expect(await controlLog(id)).toEqual(log);
  });

  it.each(asked.filter(({ answer }) => answer !== "409"))("answers $request with $answer, twice", async ({ request, ask, answer }) => {
    const id = await make();
    const first = await ask(id);
    expect(first.status, first.text).toBe(200);
    if (answer === "a new batch") {
      expect(first.body).toMatchObject({ status: "validating", retry_of: id });
      return;
    }
    expect(first.body).toMatchObject(answer === "deleted" ? { id, deleted: true } : { id, status: answer });
    // What a control leads to must allow it too: a caller that got no answer sends it again. A cancel is followed at once where nothing runs.
    expect(await ask(id)).toMatchObject({ status: 200, body: { id } });
    expect(request).toBeTypeOf("string");
  });
});

/** The rows of the document's table that begins with these columns. */
function readTable(...columns: readonly string[]): Record<string, string>[] {
  const cells = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const lines = document.split("\n");
  const head = lines.findIndex((line) => columns.every((column, index) => cells(line)[index] === column));
  const names = cells(lines[head] ?? "");
  const end = lines.findIndex((line, index) => index > head && !line.startsWith("|"));
  return lines.slice(head + 2, end).map((line) => Object.fromEntries(cells(line).map((cell, index) => [names[index] ?? "", cell])));
}
