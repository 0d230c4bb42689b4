/** Which batch goes first: the priority of a submit and its change, and the tenant's weight that is frozen with it. */
import { batchKeys } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callsOf, caption } from "./calls.ts";
import { finish, plan, record } from "./hand-worker.ts";
import { modelKey, startService, type Service } from "./service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const { submit, submitted, stored, controlLog } = callsOf(() => service);
const prioritise = (id: string, body: unknown) => service.ask(`/v1/batches/${id}/priority`, { method: "POST", body });

describe("a submit", () => {
  it("takes a priority, which is shown and frozen; 0 without one", async () => {
    const answer = await submit({ priority: -7 });
    expect(answer).toMatchObject({ status: 200, body: { priority: -7 } });
    expect(await stored(batchKeys(answer.body.id).request)).toMatchObject({ priority: -7, weight: 1 });
    const plain = await submitted();
    expect((await service.ask(`/v1/batches/${plain}`)).body.priority).toBe(0);
    expect(await stored(batchKeys(plain).request)).toMatchObject({ priority: 0 });
  });

  it("freezes the tenant's weight", async () => {
    await service.put("other-images", "manifest.jsonl", '{"custom_id":"a","image":"s3://other-images/a.png"}\n');
    const body = { ...caption, input: "s3://other-images/manifest.jsonl" };
    const answer = await service.ask("/v1/batches", { method: "POST", key: service.keys.other, body });
    expect(await stored(batchKeys(answer.body.id).request)).toMatchObject({ tenant: "other", weight: 3 });
  });

  it("is refused with one that is out of range or no whole number", async () => {
    for (const priority of [11, -11, 0.5, "high"]) {
      expect(await submit({ priority })).toMatchObject({ status: 400, body: { error: { code: "invalid_request", param: "priority" } } });
    }
  });
});

describe("a change of priority", () => {
  it("is answered with the batch, stands in the control log, and moves it before its tenant's others", async () => {
    const [first, second] = [await submitted(), await submitted()];
    const body = { priority: 10 };
    // Before the plan too.
    expect(await prioritise(second, body)).toMatchObject({ status: 200, body: { id: second, status: "validating", priority: 10 } });
    for (const id of [first, second]) await service.queue.adoptPlan({ id, plan: id.slice(6), items: 500, chunks: 500, refused: 0 });
    await service.queue.dispatch(modelKey);
    const next = await service.queue.claim({ id: second, chunk: 0, attempt: second.slice(6), dispatch: 1, worker: "by-hand" });
    expect(next).toMatchObject({ kind: "run" });
    expect(await prioritise(second, { priority: -10 })).toMatchObject({ status: 200, body: { status: "in_progress", priority: -10 } });
    expect(await controlLog(second)).toEqual([
      { kind: "priority", priority: 10 },
      { kind: "priority", priority: -10 },
    ]);
    for (const id of [first, second]) await service.ask(`/v1/batches/${id}/cancel`, { method: "POST" });
    const late = await prioritise(second, body);
    expect(late).toMatchObject({ status: 409, body: { error: { code: "conflict", message: expect.stringMatching(/is cancelling: /) } } });
  });

  it("is refused after the end with the reason, and for what is no priority", async () => {
    const id = await submitted();
    for (const body of [{}, { priority: 99 }, { priority: 1, more: true }]) {
      expect(await prioritise(id, body)).toMatchObject({ status: 400, body: { error: { code: "invalid_request" } } });
    }
    const made = await plan(service, id, [1]);
    await record(service, made, [0]);
    await finish(service, made);
    const late = await prioritise(id, { priority: 1 });
    expect(late).toMatchObject({
      status: 409,
      body: { error: { code: "conflict", message: expect.stringMatching(/is completed: nothing of it is left to begin/) } },
    });
    expect(await controlLog(id)).toEqual([]);
  });

  it("of another tenant's batch finds none", async () => {
    const id = await submitted();
    const asked = { method: "POST" as const, key: service.keys.other, body: { priority: 1 } };
    expect(await service.ask(`/v1/batches/${id}/priority`, asked)).toMatchObject({ status: 404 });
  });

  it("that a later one overtook leaves the batch as that one did", async () => {
    const id = await submitted();
    service.beforeWrite(async () => {
      service.beforeWrite(null);
      expect(await prioritise(id, { priority: 2 })).toMatchObject({ status: 200, body: { priority: 2 } });
    });
    expect(await prioritise(id, { priority: 1 })).toMatchObject({ status: 200, body: { priority: 2 } });
  });
});
