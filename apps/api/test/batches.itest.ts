/** A batch that was accepted: lists, tenants, its way to its end, cancel, pause and resume. */
import { batchKeys } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callsOf, caption } from "./calls.ts";
import { finish, plan, record } from "./hand-worker.ts";
import { modelKey, serviceBucket, startService, type Service } from "./service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const { submit, submitted, stored, controlLog } = callsOf(() => service);

describe("list", () => {
  it("gives a tenant's own batches, the newest first, page by page", async () => {
    const key = service.keys.other;
    await service.put("other-images", "manifest.jsonl", "{}\n");
    const body = { ...caption, input: "s3://other-images/manifest.jsonl" };
    const before = await service.ask("/v1/batches?limit=100", { key });
    const ids: string[] = [];
    for (let count = 0; count < 5; count++) ids.unshift((await service.ask("/v1/batches", { method: "POST", body, key })).body.id);
    const all = [...ids, ...before.body.data.map((batch: { id: string }) => batch.id)];

    const seen: string[] = [];
    for (let after = ""; ;) {
      const page = await service.ask(`/v1/batches?limit=2${after}`, { key });
      expect(page.body).toMatchObject({ object: "list", first_id: page.body.data[0].id, last_id: page.body.data.at(-1).id });
      seen.push(...page.body.data.map((batch: { id: string }) => batch.id));
      if (!page.body.has_more) break;
      after = `&after=${page.body.last_id}`;
    }
    expect(seen.toSorted((a, b) => a.localeCompare(b))).toEqual(all.toSorted((a, b) => a.localeCompare(b)));
    expect(seen.filter((id) => ids.includes(id))).toEqual(ids);
  });

  it("refuses an `after` that it didn't give out, and a limit past its bounds", async () => {
    const mine = await submitted();
    expect(await service.ask("/v1/batches?after=batch_none")).toMatchObject({
      status: 400,
      body: { error: { code: "invalid_cursor", param: "after" } },
    });
    expect(await service.ask(`/v1/batches?after=${mine}`, { key: service.keys.other })).toMatchObject({
      status: 400,
      body: { error: { code: "invalid_cursor" } },
    });
    for (const limit of ["0", "101", "ten"]) {
      expect(await service.ask(`/v1/batches?limit=${limit}`)).toMatchObject({
        status: 400,
        body: { error: { code: "invalid_request", param: "limit" } },
      });
    }
  });
});

describe("tenants", () => {
  it("never see one another's batches", async () => {
    const id = await submitted();
    const made = await plan(service, id, [1]);
    const absent = { status: 404, body: { error: { code: "not_found", type: "not_found_error" } } };
    const key = service.keys.other;
    const look = async () => {
      expect(await service.ask(`/v1/batches/${id}`, { key })).toMatchObject(absent);
      expect(await service.ask(`/v1/batches/${id}/results`, { key })).toMatchObject(absent);
      for (const kind of ["cancel", "pause", "resume"]) {
        expect(await service.ask(`/v1/batches/${id}/${kind}`, { key, method: "POST" })).toMatchObject(absent);
      }
      const list = await service.ask("/v1/batches?limit=100", { key });
      expect(list.body.data.map((batch: { id: string }) => batch.id)).not.toContain(id);
    };
    await look();
    await record(service, made, [0]);
    await finish(service, made);
    await look();
  });
});

describe("a batch's way", () => {
  it("shows counts and times from plan to end", async () => {
    const id = await submitted();
    const made = await plan(service, id, [2, 2], [[1, 0]]);
    expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({
      status: "in_progress",
      waiting_for: null,
      request_counts: { total: 5, completed: 0, failed: 1 },
    });
    await record(service, made, [0]);
    expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({
      request_counts: { total: 5, completed: 2, failed: 1 },
      usage: { input_tokens: 10, input_tokens_details: { cached_tokens: 4 }, output_tokens: 3, total_tokens: 13 },
      results: null,
    });
    await record(service, made, [1]);
    const end = await finish(service, made);
    expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({
      status: "completed",
      completed_at: end.ended_at,
      failed_at: null,
      request_counts: { total: 5, completed: 3, failed: 2 },
      results: { output: `s3://${serviceBucket}/${end.files?.output.key}` },
    });
  });

  it("says what it waits for where nobody serves its model", async () => {
    await service.put(
      serviceBucket,
      "models/unserved/flamingo.json",
      JSON.stringify({ contentHash: "b".repeat(64), precision: "fp32", limits: { maxFrames: 1 } }),
    );
    const answer = await submit({ model: "unserved" });
    expect(answer.body.waiting_for).toBe("worker for unserved");
  });

  it("is cancelled once, with a control object, and not after its end", async () => {
    const id = await submitted();
    const made = await plan(service, id, [1, 1]);
    const cancel = () => service.ask(`/v1/batches/${id}/cancel`, { method: "POST" });
    expect(await cancel()).toMatchObject({ status: 200, body: { id, status: "cancelling", cancelling_at: expect.any(Number) } });
    expect(await cancel()).toMatchObject({ status: 200, body: { status: "cancelling" } });
    expect(await controlLog(id)).toEqual([{ kind: "cancel" }]);
    expect(made.id).toBe(id);

    const done = await submitted();
    const ended = await plan(service, done, [1]);
    await record(service, ended, [0]);
    await finish(service, ended);
    const late = await service.ask(`/v1/batches/${done}/cancel`, { method: "POST" });
    expect(late).toMatchObject({ status: 409, body: { error: { code: "conflict" } } });
  });

  it("is sealed at once by a cancel that comes before its plan", async () => {
    const id = await submitted();
    const cancelled = await service.ask(`/v1/batches/${id}/cancel`, { method: "POST" });
    expect(cancelled).toMatchObject({ status: 200, body: { status: "cancelling" } });
    expect(await service.queue.batch(id)).toMatchObject({ status: "finalizing", outcome: "cancelled", plan: null });
  });

  it("shows why a plan was refused", async () => {
    const id = await submitted();
    const error = { code: "invalid_json_line", message: "m", param: null, line: 3 };
    await service.queue.refusePlan({ id, errors: [error] });
    expect((await service.ask(`/v1/batches/${id}`)).body.errors).toEqual({ object: "list", data: [error] });
  });

  it("is read from S3 once Redis has no row of it, with what its owner changed since the submit", async () => {
    const id = await submitted();
    await service.ask(`/v1/batches/${id}/deadline`, { method: "POST", body: { completion_window: "48h" } });
    await service.ask(`/v1/batches/${id}/priority`, { method: "POST", body: { priority: 7 } });
    const made = await plan(service, id, [2]);
    await record(service, made, [0]);
    const end = await finish(service, made);
    const known = (await service.ask(`/v1/batches/${id}`)).body;
    expect(known).toMatchObject({ completion_window: "48h", expires_at: known.created_at + 172_800, priority: 7 });
    // Another id with the same objects: what a row that retention removed leaves.
    const forgotten = `batch_${id.slice(6, -4)}zzzz`;
    await service.put(
      serviceBucket,
      batchKeys(forgotten).request,
      JSON.stringify({ ...(await stored(batchKeys(id).request)), id: forgotten }),
    );
    expect(await service.ask(`/v1/batches/${forgotten}`)).toMatchObject({ status: 503, body: { error: { code: "service_unavailable" } } });
    await service.put(serviceBucket, batchKeys(forgotten).end, JSON.stringify(end));
    expect((await service.ask(`/v1/batches/${forgotten}`)).body).toEqual({ ...known, id: forgotten });
    // An end of before that was kept has what was submitted.
    const { terms: _terms, ...older } = end;
    await service.put(serviceBucket, batchKeys(forgotten).end, JSON.stringify(older));
    expect((await service.ask(`/v1/batches/${forgotten}`)).body).toMatchObject({ completion_window: "24h", priority: 0 });
    expect((await service.ask(`/v1/batches/${forgotten}/results`)).body.data).toHaveLength(2);
    for (const kind of ["cancel", "pause", "resume"]) {
      expect(await service.ask(`/v1/batches/${forgotten}/${kind}`, { method: "POST" })).toMatchObject({ status: 409 });
    }
    expect(await service.ask(`/v1/batches/${forgotten}`, { key: service.keys.other })).toMatchObject({ status: 404 });
    // What has a body is looked up as what has none.
    for (const [missing, status] of [
      [forgotten, 409],
      ["batch_01hzzzzzzzzzzzzzzzzzzzzzzz", 404],
    ] as const) {
      expect(await service.ask(`/v1/batches/${missing}/cancel`, { method: "POST", body: {} })).toMatchObject({ status });
      expect(await service.ask(`/v1/batches/${missing}/priority`, { method: "POST", body: { priority: 1 } })).toMatchObject({ status });
      expect(await service.ask(`/v1/batches/${missing}/deadline`, { method: "POST", body: { completion_window: "48h" } })).toMatchObject({
        status,
      });
    }
  });

  it("is not found under an id that isn't one", async () => {
    for (const id of ["batch_none", "batch_01hzzzzzzzzzzzzzzzzzzzzzzz", "..%2fmodels", "%2e%2e", "x".repeat(400)]) {
      expect(await service.ask(`/v1/batches/${id}`)).toMatchObject({ status: 404, body: { error: { code: "not_found" } } });
    }
  });
});

describe("pause and resume", () => {
  const ask = (id: string, kind: "pause" | "resume") => service.ask(`/v1/batches/${id}/${kind}`, { method: "POST" });
  const refused = (message: RegExp) => ({
    status: 409,
    body: { error: { code: "conflict", type: "invalid_request_error", message: expect.stringMatching(message) } },
  });

  it("answer the batch, however often they come, and stand in the control log in their order", async () => {
    const id = await submitted();
    const made = await plan(service, id, [1, 1]);
    for (const kind of ["pause", "pause"] as const) {
      expect(await ask(id, kind)).toMatchObject({ status: 200, body: { id, status: "paused", waiting_for: null } });
    }
    expect((await service.ask(`/v1/batches/${id}`)).body.status).toBe("paused");
    expect(await service.queue.dispatch(modelKey)).toBe(0);
    for (const kind of ["resume", "resume"] as const) {
      expect(await ask(id, kind)).toMatchObject({ status: 200, body: { id, status: "in_progress" } });
    }
    expect(await controlLog(id)).toEqual([{ kind: "pause" }, { kind: "pause" }, { kind: "resume" }, { kind: "resume" }]);
    await record(service, made, [0, 1]);
    await finish(service, made);
    expect((await service.ask(`/v1/batches/${id}`)).body.status).toBe("completed");
  });

  it("set a resumed batch's chunks going at once", async () => {
    const id = await submitted();
    await plan(service, id, [1, 1]);
    const ready = async () => (await service.queue.depths()).find(({ model }) => model === modelKey)?.ready ?? 0;
    await ask(id, "pause");
    // What other batches wait to have handed out.
    await service.queue.dispatch(modelKey);
    const before = await ready();
    await ask(id, "resume");
    expect(await ready()).toBe(before + 2);
  });

  it("are refused where the batch neither runs nor is paused, with the reason", async () => {
    const id = await submitted();
    expect(await ask(id, "pause")).toMatchObject(refused(/is validating: only a batch in progress can be paused/));
    expect(await ask(id, "resume")).toMatchObject(refused(/is validating: only a paused batch can be resumed/));
    const made = await plan(service, id, [1]);
    await record(service, made, [0]);
    await finish(service, made);
    for (const kind of ["pause", "resume"] as const) expect(await ask(id, kind)).toMatchObject(refused(/is completed/));
    expect(await controlLog(id)).toEqual([]);

    const cancelled = await submitted();
    await plan(service, cancelled, [1]);
    await service.ask(`/v1/batches/${cancelled}/cancel`, { method: "POST" });
    for (const kind of ["pause", "resume"] as const) expect(await ask(cancelled, kind)).toMatchObject(refused(/is cancelling/));
  });

  it("can be cancelled in between", async () => {
    const id = await submitted();
    await plan(service, id, [1]);
    await ask(id, "pause");
    expect(await service.ask(`/v1/batches/${id}/cancel`, { method: "POST" })).toMatchObject({
      status: 200,
      body: { status: "cancelling" },
    });
    expect(await controlLog(id)).toEqual([{ kind: "pause" }, { kind: "cancel" }]);
  });

  it("hold in the order of their numbers: a pause whose object was long in the writing doesn't undo a newer resume", async () => {
    const id = await submitted();
    await plan(service, id, [1]);
    service.beforeWrite(async () => {
      service.beforeWrite(null);
      // The batch runs already, and still the resume takes its place.
      expect(await ask(id, "resume")).toMatchObject({ status: 200 });
    });
    expect(await ask(id, "pause")).toMatchObject({ status: 200, body: { status: "in_progress" } });
    expect((await service.ask(`/v1/batches/${id}`)).body.status).toBe("in_progress");
    expect(await controlLog(id)).toEqual([{ kind: "pause" }, { kind: "resume" }]);
  });
});
