/** A tenant's quotas: how many batches and items it may have at once, how many bytes it may keep, refused at submit, and at plan where only that can tell. */
import { newUlid } from "@flamboyance/queue";
import { afterAll, beforeAll, expect, it } from "vitest";
import { callsOf, caption } from "./calls.ts";
import { finish, plan, record } from "./hand-worker.ts";
import { serviceBucket, startService, type Service } from "./service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const { stored } = callsOf(() => service);
const submit = (headers: Record<string, string> = {}) =>
  service.ask("/v1/batches", { method: "POST", body: caption, key: service.keys.bounded, headers });
const over = (message: RegExp) => ({
  status: 429,
  body: { error: { code: "quota_exceeded", type: "invalid_request_error", message: expect.stringMatching(message) } },
});
const cancelled = async (id: string) => {
  await service.ask(`/v1/batches/${id}/cancel`, { method: "POST", key: service.keys.bounded });
  const { seal, status } = (await service.queue.batch(id)) ?? {};
  expect(status).toBe("finalizing");
  const end = { ...ended, seal: seal ?? "", status: "cancelled" as const };
  await service.queue.end({ id, end });
};
const ended = {
  ended_at: 2,
  in_progress_at: null,
  finalizing_at: 2,
  cancelling_at: 2,
  counts: { total: 0, completed: 0, failed: 0 },
  usage: {
    input_tokens: 0,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 0,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 0,
  },
  errors: [],
  files: null,
};

it("bounds batches that haven't ended, also of submits that come at once, and gives room as they end", async () => {
  const answers = await Promise.all(Array.from({ length: 8 }, () => submit()));
  const taken = answers.filter(({ status }) => status === 200).map(({ body }) => body.id as string);
  expect(taken).toHaveLength(3);
  for (const answer of answers.filter(({ status }) => status !== 200)) {
    expect(answer).toMatchObject(
      over(
        /^You have 3 batches that haven't ended, and 3 is the most that you may have \(running_batches\)\. Wait until one has, or cancel one\.$/,
      ),
    );
    expect(answer.headers).toMatchObject({ "x-should-retry": "false", "retry-after": "60" });
  }
  await cancelled(taken[0] ?? "");
  const again = await submit();
  expect(again.status).toBe(200);
  expect((await submit()).status).toBe(429);
  // Nothing was written of those that were refused.
  const list = await service.ask("/v1/batches?limit=100", { key: service.keys.bounded });
  expect(list.body.data).toHaveLength(4);
  for (const id of [...taken.slice(1), again.body.id]) await cancelled(id);
});

const useOf = async (key: string) => (await service.ask("/v1/quotas", { key })).body;

it("tells a tenant what it has of each, beside the most that it may have", async () => {
  const most = { running_batches: { most: 3 }, items_queued: { most: 10 }, stored_bytes: { most: null } };
  const before = await useOf(service.keys.bounded);
  expect(before).toMatchObject({ object: "quota_use", ...most });
  const { id } = (await submit()).body;
  expect((await useOf(service.keys.bounded)).running_batches.have).toBe(before.running_batches.have + 1);
  expect((await useOf(service.keys.other)).running_batches).toEqual({ have: 0, most: null });
  await cancelled(id);
});

it("counts a submit that is repeated once, and others' batches not at all", async () => {
  const key = { "idempotency-key": "once" };
  const ids = new Set<string>();
  for (let time = 0; time < 5; time++) ids.add((await submit(key)).body.id);
  expect(ids.size).toBe(1);
  for (let time = 0; time < 5; time++) expect((await service.ask("/v1/batches", { method: "POST", body: caption })).status).toBe(200);
  expect((await submit()).status).toBe(200);
  for (const { id } of (await service.ask("/v1/batches", { key: service.keys.bounded })).body.data)
    if ((await service.queue.batch(id))?.status === "validating") await cancelled(id);
});

it("bounds items that have no line yet: at the plan, and from then on at submit", async () => {
  const first = (await submit()).body.id;
  const made = await plan(service, first, [4, 4]);
  expect(await useOf(service.keys.bounded)).toMatchObject({ items_queued: { have: 8, most: 10 } });
  const second = (await submit()).body.id;
  const adopt = (items: number) =>
    service.queue.adoptPlan({ id: second, plan: newUlid(), items, chunks: 1, refused: 0, quotas: { items_queued: 10 } });
  expect(await adopt(3)).toEqual({ kind: "over", quota: "items_queued", have: 8, most: 10 });
  expect(await adopt(2)).toMatchObject({ kind: "adopted" });
  expect(await submit()).toMatchObject(
    over(
      /^You have 10 items that wait or run, and 10 is the most that you may have \(items_queued\)\. Wait until some have run, or cancel a batch\.$/,
    ),
  );
  // Lines make room, before the batch has ended.
  await record(service, made, [0]);
  const third = await submit();
  expect(third.status).toBe(200);
  expect(await stored(`batches/${third.body.id}/batch.json`)).toMatchObject({ quotas: { running_batches: 3, items_queued: 10 } });
  await record(service, made, [1]);
  await finish(service, made);
  expect((await submit()).status).toBe(200);
});

it("bounds bytes that a tenant's batches keep: at the plan, and from then on at submit and retry, until they are deleted", async () => {
  const key = service.keys.keeping;
  const post = async (path: string, body?: object) => service.ask(path, { method: "POST", body, key });
  const have = async () => {
    const answer = await service.queue.admit({ tenant: "keeping", id: "batch_none", quotas: { stored_bytes: 1 } });
    return answer.kind === "over" ? answer.have : 0;
  };
  const bytesBelow = async (folder: string) =>
    (await Array.fromAsync(service.storage.list({ bucket: serviceBucket, key: folder }, { signal: AbortSignal.timeout(10_000) }))).reduce(
      (sum, { sizeBytes }) => sum + sizeBytes,
      0,
    );

  const first = (await post("/v1/batches", caption)).body.id;
  const made = await plan(service, first, [1, 1], [], { moreBytes: 1_000, fails: () => "image_not_found" });
  expect(await have()).toBe(made.storedBytes);
  await record(service, made, [0]);
  expect(await have()).toBe(made.storedBytes + (await bytesBelow(`batches/${first}/parts/`)));
  await record(service, made, [1]);
  const { stored_bytes: kept = 0 } = await finish(service, made);
  // The parts are the sweep's from now on.
  expect(await have()).toBe(kept);
  expect(kept).toBeLessThan(made.storedBytes + (await bytesBelow(`batches/${first}/final/`)));

  const second = (await post("/v1/batches", caption)).body.id;
  const adopt = (storedBytes: number) =>
    service.queue.adoptPlan({
      id: second,
      plan: newUlid(),
      items: 1,
      chunks: 1,
      refused: 0,
      storedBytes,
      quotas: { items_queued: 5, stored_bytes: 10_000 },
    });
  expect(await adopt(10_001 - kept)).toEqual({ kind: "over", quota: "stored_bytes", have: kept, most: 10_000 });
  expect(await adopt(10_000 - kept)).toMatchObject({ kind: "adopted" });
  const refused = over(
    /^Your batches keep 10000 bytes, and 10000 is the most that you may have \(stored_bytes\)\. Delete batches that you don't need any more\.$/,
  );
  expect(await post("/v1/batches", caption)).toMatchObject(refused);
  expect(await post(`/v1/batches/${first}/retry`)).toMatchObject(refused);

  expect((await service.ask(`/v1/batches/${first}`, { method: "DELETE", key })).status).toBe(200);
  expect(await have()).toBe(10_000 - kept);
  expect((await post("/v1/batches", caption)).status).toBe(200);
});
