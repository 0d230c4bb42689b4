/** A deadline that is changed after the submit: counted from it, logged, and what the batch expires by. */
import { newUlid } from "@flamboyance/queue";
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

const { submitted, stored, controlLog } = callsOf(() => service);
const setDeadline = (id: string, completion_window: unknown) =>
  service.ask(`/v1/batches/${id}/deadline`, { method: "POST", body: { completion_window } });

it("is counted from the submit, shown, and stands in the control log; the frozen request stays as it was", async () => {
  const id = await submitted({ completion_window: "24h" });
  const { created_at } = (await service.ask(`/v1/batches/${id}`)).body;
  for (const [completion_window, seconds] of [
    ["48h", 172_800],
    ["30m", 1_800],
  ] as const) {
    const shown = { completion_window, expires_at: created_at + seconds };
    expect(await setDeadline(id, completion_window)).toMatchObject({ status: 200, body: shown });
    expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject(shown);
  }
  expect(await controlLog(id)).toEqual([
    { kind: "deadline", completion_window: "48h" },
    { kind: "deadline", completion_window: "30m" },
  ]);
  expect(await stored(batchKeys(id).request)).toMatchObject({ completion_window: "24h", expires_at: created_at + 86_400 });
});

it("that has passed is refused, and so is what is none", async () => {
  const created_at = 1_700_000_000;
  const id = await submitted();
  // As one that was submitted years ago, whose window is still open.
  const request = { ...(await stored(batchKeys(id).request)), id: `batch_${newUlid()}`, created_at, expires_at: 4_000_000_000 };
  await service.put("service", batchKeys(request.id).request, JSON.stringify(request));
  await service.queue.submit(request);
  expect(await setDeadline(request.id, "24h")).toMatchObject({
    status: 400,
    body: { error: { code: "invalid_request", param: "completion_window", message: expect.stringMatching(/has passed already/) } },
  });
  expect(await controlLog(request.id)).toEqual([]);
  for (const window of ["soon", "0h", 24, null])
    expect(await setDeadline(id, window)).toMatchObject({ status: 400, body: { error: { param: "completion_window" } } });
});

it("of a batch that has ended is refused with the reason, and another tenant's isn't found", async () => {
  const id = await submitted();
  const asked = { method: "POST" as const, key: service.keys.other, body: { completion_window: "48h" } };
  expect(await service.ask(`/v1/batches/${id}/deadline`, asked)).toMatchObject({ status: 404 });
  const made = await plan(service, id, [1]);
  await record(service, made, [0]);
  await finish(service, made);
  expect(await setDeadline(id, "48h")).toMatchObject({
    status: 409,
    body: { error: { code: "conflict", message: expect.stringMatching(/is completed: its deadline decides nothing any more/) } },
  });
});
