/** A batch that too much fails of is paused by itself, says why, and goes on without the limit once it is resumed. */
import { batchKeys } from "@flamboyance/storage";
import { afterAll, beforeAll, expect, it } from "vitest";
import { callsOf } from "./calls.ts";
import { finish, plan, record } from "./hand-worker.ts";
import { startService, type Service } from "./service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const { submit, submitted, stored, controlLog } = callsOf(() => service);
const resume = (id: string) => service.ask(`/v1/batches/${id}/resume`, { method: "POST" });

it("takes a number or a share, shown and frozen as it was given", async () => {
  for (const max_failed of [0, 12, "5%", "0.25%", "100%"]) {
    const answer = await submit({ max_failed });
    expect(answer).toMatchObject({ status: 200, body: { max_failed, paused_reason: null } });
    expect(await stored(batchKeys(answer.body.id).request)).toMatchObject({ max_failed });
  }
  expect((await submit()).body.max_failed).toBeNull();
  for (const max_failed of [-1, 1.5, "5", "101%", "-1%", "5 %", "1.234%"]) {
    const answer = await submit({ max_failed });
    expect(answer, String(max_failed)).toMatchObject({ status: 400, body: { error: { code: "invalid_request", param: "max_failed" } } });
    expect(answer.body.error.message).toMatch(/^max_failed: /);
  }
});

it("pauses with its reason, and the resume that follows takes the limit off, in the log too", async () => {
  const id = await submitted({ max_failed: "20%" });
  const made = await plan(service, id, [3, 3, 3], [], { fails: () => "image_not_found" });
  await record(service, made, [0]);
  const shown = { status: "paused", max_failed: "20%", paused_reason: "3 of 9 items failed, more than max_failed (20%) allows" };
  expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject(shown);
  expect((await service.ask("/v1/batches?limit=1")).body.data[0]).toMatchObject(shown);
  expect(await resume(id)).toMatchObject({ status: 200, body: { status: "in_progress", paused_reason: null } });
  expect(await controlLog(id)).toEqual([{ kind: "resume", lifts: "max_failed" }]);
  await record(service, made, [1]);
  expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({ status: "in_progress" });
  await record(service, made, [2]);
  await finish(service, made);
  expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({ status: "completed", paused_reason: null, max_failed: "20%" });
});

it("holds through a pause and a resume of its owner's", async () => {
  const id = await submitted({ max_failed: 2 });
  const made = await plan(service, id, [3, 3], [], { fails: () => "image_not_found" });
  await service.ask(`/v1/batches/${id}/pause`, { method: "POST" });
  expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({ status: "paused", paused_reason: null });
  await resume(id);
  expect(await controlLog(id)).toEqual([{ kind: "pause" }, { kind: "resume" }]);
  await record(service, made, [0]);
  expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({
    status: "paused",
    paused_reason: expect.stringMatching(/^3 of 6/),
  });
});
