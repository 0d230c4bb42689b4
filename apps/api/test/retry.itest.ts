/** Retry: a new batch over what failed, one at a time, and results read as one with the batch's. */
import type { ErrorCode } from "@flamboyance/contracts";
import { retryId } from "@flamboyance/queue";
import { batchKeys } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callsOf } from "./calls.ts";
import { finish, plan, record, type HandItems } from "./hand-worker.ts";
import { modelKey, serviceBucket, startService, type Answer, type Service } from "./service.ts";

let service: Service;
/** Once, just before a retry takes its id. */
let beforeReserve: (() => Promise<unknown>) | null = null;
beforeAll(async () => {
  service = await startService({
    seen: (queue) => ({
      ...queue,
      reserveRetry: async (asked) => {
        const wait = beforeReserve;
        beforeReserve = null;
        await wait?.();
        return queue.reserveRetry(asked);
      },
    }),
  });
});
afterAll(() => service.close());

const { submitted, stored } = callsOf(() => service);
const retry = (id: string, body?: object, headers: Record<string, string> = {}) =>
  service.ask(`/v1/batches/${id}/retry`, { method: "POST", headers, ...(body === undefined ? {} : { body }) });
const conflict = (message: RegExp) => ({ status: 409, body: { error: { code: "conflict", message: expect.stringMatching(message) } } });

/** Nine items, of which 2 and 8 aren't found and 5 fails, and a refused line. */
const fails = (item: number): ErrorCode | null => (item === 5 ? "item_failed" : item % 3 === 2 ? "image_not_found" : null);

async function run(id: string, items: number, how: HandItems, refused: readonly (readonly [number, number])[] = []): Promise<void> {
  const made = await plan(service, id, [items], refused, how);
  await record(service, made, [0]);
  await finish(service, made);
}

async function ended(): Promise<string> {
  const id = await submitted({ metadata: { mine: "yes" }, priority: 3, output: "s3://demo-results/out/", task: "vqa", question: "What?" });
  await run(id, 9, { fails }, [[4, 3]]);
  return id;
}

async function readAll(id: string, more = "&limit=100"): Promise<string[]> {
  const seen: string[] = [];
  for (let after = ""; ;) {
    const page: Answer = await service.ask(`/v1/batches/${id}/results?lineage=true${more}${after}`);
    expect(page.status, page.text).toBe(200);
    for (const { custom_id, response, error } of page.body.data)
      seen.push(`${custom_id}: ${error?.code ?? response.body.error?.code ?? "ok"}`);
    if (page.body.next === null) return seen;
    after = `&after=${page.body.next}`;
  }
}

describe("a retry", () => {
  it("is a new batch that takes over what decides an answer, and names the one that it follows", async () => {
    const id = await ended();
    const before = (await service.ask(`/v1/batches/${id}`)).body;
    const answer = await retry(id);
    expect(answer).toMatchObject({ status: 200, body: { retry_of: id, status: "validating", metadata: { mine: "yes" }, priority: 3 } });
    expect(answer.body.id).not.toBe(id);
    const [first, second] = [await stored(batchKeys(id).request), await stored(batchKeys(answer.body.id).request)];
    expect(second).toEqual({
      ...first,
      id: answer.body.id,
      created_at: answer.body.created_at,
      expires_at: answer.body.created_at + 86_400,
      // Its own few lines must not replace those that were delivered.
      output: null,
      retry: { lineage: [id], error_codes: null, idempotency_key: null },
    });
    const marker = { bucket: serviceBucket, key: batchKeys(answer.body.id).marker };
    expect(await service.storage.describe(marker, { signal: AbortSignal.timeout(5_000) })).not.toBeNull();
    expect((await service.ask(`/v1/batches/${id}`)).body).toEqual(before);
    const listed = (await service.ask("/v1/batches?limit=1")).body.data[0];
    expect(listed).toMatchObject({ id: answer.body.id, retry_of: id });
  });

  it("runs one at a time, begins with the newest, and is read with those before it", async () => {
    const id = await ended();
    expect(await readAll(id)).toEqual([
      "item 0: ok",
      "item 1: ok",
      "item 2: image_not_found",
      "null: invalid_line",
      "item 3: ok",
      "item 4: ok",
      "item 5: item_failed",
      "item 6: ok",
      "item 7: ok",
      "item 8: image_not_found",
    ]);
    const first = (await retry(id, { error_codes: ["image_not_found"] })).body.id;
    expect(await retry(id)).toMatchObject(conflict(new RegExp(`${id} has a retry, ${first}, that is validating`)));
    expect(await retry(first)).toMatchObject(conflict(/is validating: only a batch that has ended can be retried/));
    const made = await plan(service, first, [1, 1], [], { numbers: [2, 8], fails: (item) => (item === 8 ? "image_forbidden" : null) });
    await record(service, made, [0]);
    expect(await retry(id)).toMatchObject(conflict(/is in_progress/));
    // What runs shows in its own results, and counts here once it has ended.
    expect(await readAll(first)).toContain("item 2: image_not_found");
    await record(service, made, [1]);
    await finish(service, made);

    const second = await retry(id);
    expect(second).toMatchObject({ status: 200, body: { retry_of: first } });
    expect(await stored(batchKeys(second.body.id).request)).toMatchObject({ retry: { lineage: [id, first], error_codes: null } });
    await run(second.body.id, 2, { numbers: [5, 8], fails: (item) => (item === 8 ? "image_forbidden" : null) });

    const merged = [
      "item 0: ok",
      "item 1: ok",
      "item 2: ok",
      "null: invalid_line",
      "item 3: ok",
      "item 4: ok",
      "item 5: ok",
      "item 6: ok",
      "item 7: ok",
      "item 8: image_forbidden",
    ];
    for (const member of [id, first, second.body.id]) expect(await readAll(member)).toEqual(merged);
    expect(await readAll(id, "&limit=3")).toEqual(merged);
    expect(await readAll(id, "&status=failed")).toEqual(["null: invalid_line", "item 8: image_forbidden"]);
    expect(await readAll(id, "&status=completed")).toEqual(merged.filter((line) => line.endsWith("ok")));
    const errors = (member: string, lineage: boolean) =>
      service.ask(`/v1/batches/${member}/errors?lineage=${lineage}`).then(({ body }) => body.data);
    expect(await errors(first, true)).toMatchObject([
      { code: "image_forbidden", count: 1, retryable: false, meaning: expect.any(String) },
      { code: "invalid_line", count: 1 },
    ]);
    expect(await errors(id, false)).toMatchObject([
      { code: "image_not_found", count: 2 },
      { code: "invalid_line", count: 1 },
      { code: "item_failed", count: 1, retryable: true },
    ]);
  });

  it("goes on reading what it began to read, though a retry ends meanwhile", async () => {
    const id = await ended();
    const first = await service.ask(`/v1/batches/${id}/results?lineage=true&limit=1`);
    const again = (await retry(id)).body.id;
    await run(again, 3, { numbers: [2, 5, 8], fails: () => null });
    const rest = await service.ask(`/v1/batches/${id}/results?lineage=true&after=${first.body.next}&status=failed`);
    expect(rest.body.data).toHaveLength(4);
    expect((await service.ask(`/v1/batches/${id}/results?lineage=true&status=failed`)).body.data).toHaveLength(1);
    // The first batch's own cursor isn't the lineage's.
    const alone = await service.ask(`/v1/batches/${id}/results?after=${first.body.next}`);
    expect(alone).toMatchObject({ status: 400, body: { error: { code: "invalid_cursor" } } });
  });

  it("is refused where nothing that ran failed, or nothing with these codes", async () => {
    const nothing = { status: 409, body: { error: { code: "nothing_to_retry" } } };
    const fine = await submitted();
    await run(fine, 2, { fails: () => null }, [[1, 0]]);
    // A refused line never was an item.
    expect(await retry(fine)).toMatchObject(nothing);
    const id = await ended();
    expect(await retry(id, { error_codes: ["image_too_large"] })).toMatchObject(nothing);
    expect(await retry(id, { error_codes: ["invalid_line"] })).toMatchObject(nothing);
    const again = (await retry(id, { error_codes: ["item_failed", "image_not_found"] })).body.id;
    await run(again, 3, { numbers: [2, 5, 8], fails: () => null });
    expect(await retry(id)).toMatchObject(nothing);
    for (const body of [{ error_codes: [] }, { error_codes: [""] }, { error_codes: ["batch_canceled"] }, { codes: ["item_failed"] }, []])
      expect(await retry(id, body)).toMatchObject({ status: 400, body: { error: { code: "invalid_request" } } });
  });

  it("is refused while the batch runs, where it ended without a plan, and of another tenant's batch", async () => {
    const running = await submitted();
    expect(await retry(running)).toMatchObject(conflict(/is validating: only a batch that has ended can be retried/));
    await service.queue.refusePlan({ id: running, errors: [] });
    const { seal } = (await service.queue.batch(running)) ?? {};
    const end = { ...(await stored(batchKeys(await ended()).end)), seal, status: "failed", files: null };
    await service.put(serviceBucket, batchKeys(running).end, JSON.stringify(end));
    await service.queue.end({ id: running, end });
    expect(await retry(running)).toMatchObject(conflict(/ended without a plan/));
    const id = await ended();
    expect(await service.ask(`/v1/batches/${id}/retry`, { method: "POST", key: service.keys.other })).toMatchObject({ status: 404 });
  });

  it("of a model that was replaced is refused, unless a worker serves the old one still", async () => {
    const put = (letter: string) => {
      const description = { contentHash: letter.repeat(64), precision: "fp32", limits: { maxFrames: 1 } };
      return service.put(serviceBucket, "models/fleeting/flamingo.json", JSON.stringify(description));
    };
    // The bytes of the model that the worker by hand serves, under another name.
    await put("a");
    const id = await submitted({ model: "fleeting" });
    await run(id, 3, { fails });
    await put("e");
    await service.queue.withdraw("by-hand");
    expect(await retry(id)).toMatchObject(conflict(/fleeting isn't the model any more/));
    await service.queue.announce({ worker: "old", model: modelKey, slots: 1 }, 60_000);
    expect(await retry(id)).toMatchObject({ status: 200 });
    await service.queue.withdraw("old");
  });
});

describe("a delete in a lineage", () => {
  const remove = (id: string) => service.ask(`/v1/batches/${id}`, { method: "DELETE" });

  it("is refused while a retry of it isn't planned or is being written, whichever batch it is of; then the lineage begins behind it", async () => {
    const id = await ended();
    const first = (await retry(id)).body.id;
    expect(await remove(id)).toMatchObject(conflict(new RegExp(`${id} has a retry, ${first}, that is validating`)));
    await run(first, 3, { numbers: [2, 5, 8], fails: (item) => (item === 2 ? null : "item_failed") });
    const second = (await retry(id)).body.id;
    for (const member of [id, first]) expect(await remove(member)).toMatchObject(conflict(new RegExp(`has a retry, ${second}`)));
    const made = await plan(service, second, [2], [], { numbers: [5, 8], fails: (item) => (item === 8 ? "item_failed" : null) });
    expect(await remove(id)).toMatchObject({ status: 200, body: { id, deleted: true } });
    expect(await service.ask(`/v1/batches/${id}/results?lineage=true`)).toMatchObject({ status: 404 });
    expect(await retry(id)).toMatchObject({ status: 404 });
    await record(service, made, [0]);
    await finish(service, made);
    for (const member of [first, second]) expect(await readAll(member)).toEqual(["item 2: ok", "item 5: ok", "item 8: item_failed"]);
    // At once: nothing of the delete holds it off.
    const third = await retry(second);
    expect(third).toMatchObject({ status: 200, body: { retry_of: second } });
    expect(await stored(batchKeys(third.body.id).request)).toMatchObject({ retry: { lineage: [first, second] } });
  });

  it("of a retry leaves its place taken: the next one has another id, and is found from the first", async () => {
    const id = await ended();
    const first = (await retry(id)).body.id;
    await run(first, 3, { numbers: [2, 5, 8], fails: () => null });
    expect(await remove(first)).toMatchObject({ status: 200 });
    expect(await stored(batchKeys(first).deleted)).toMatchObject({ because: "asked", lineage: [id] });
    // What it mended failed again, as it were.
    expect(await readAll(id, "&status=failed")).toHaveLength(4);
    const second = await retry(id);
    expect(second).toMatchObject({ status: 200, body: { id: retryId(first), retry_of: id } });
    await run(second.body.id, 3, { numbers: [2, 5, 8], fails: () => null });
    expect(await readAll(id, "&status=failed")).toEqual(["null: invalid_line"]);
  });

  it("ends what is being read of the lineage, also where another retry makes up the number", async () => {
    const id = await ended();
    const first = (await retry(id)).body.id;
    await run(first, 3, { numbers: [2, 5, 8], fails });
    const page = await service.ask(`/v1/batches/${id}/results?lineage=true&limit=3`);
    const rest = () => service.ask(`/v1/batches/${id}/results?lineage=true&after=${page.body.next}`);
    expect(await rest()).toMatchObject({ status: 200 });
    expect(await remove(first)).toMatchObject({ status: 200 });
    const message = expect.stringMatching(/a batch of this lineage was deleted since the reading began/);
    const refused = { status: 400, body: { error: { code: "invalid_cursor", param: "after", message } } };
    expect(await rest()).toMatchObject(refused);
    const second = (await retry(id)).body.id;
    await run(second, 3, { numbers: [2, 5, 8], fails: () => null });
    expect(await rest()).toMatchObject(refused);
    expect(await readAll(id, "&status=failed")).toEqual(["null: invalid_line"]);
  });

  it("while a retry looks isn't followed by it", async () => {
    const id = await ended();
    beforeReserve = () => remove(id);
    expect(await retry(id)).toMatchObject({ status: 404 });
    expect(await service.queue.batch(retryId(id))).toBeNull();
    const other = await ended();
    const first = (await retry(other)).body.id;
    await run(first, 3, { numbers: [2, 5, 8], fails });
    beforeReserve = () => remove(other);
    expect(await retry(first)).toMatchObject(conflict(/a batch of its lineage was just deleted/));
    expect((await retry(first)).status).toBe(200);
  });
});

describe("a retry that comes twice", () => {
  it("is one batch: at once, under its key, or as a client's repetition", async () => {
    const id = await ended();
    const twins = await Promise.all([retry(id), retry(id), retry(id)]);
    // Whoever comes once it stands is told that it runs.
    const made = twins.filter(({ status }) => status === 200).map(({ body }) => body.id);
    expect(made.length).toBeGreaterThan(0);
    expect(new Set(made)).toEqual(new Set([retryId(id)]));
    for (const { status, body } of twins) if (status !== 200) expect([status, body.error.code]).toEqual([409, "conflict"]);

    const keyed = await ended();
    const key = { "idempotency-key": "again" };
    const first = await retry(keyed, { error_codes: ["item_failed"] }, key);
    expect((await retry(keyed, { error_codes: ["item_failed"] }, key)).body.id).toBe(first.body.id);
    expect(await retry(keyed, {}, key)).toMatchObject({ status: 422, body: { error: { code: "idempotency_mismatch" } } });
    await run(first.body.id, 1, { numbers: [5], fails: () => null });
    expect((await retry(keyed, { error_codes: ["item_failed"] }, key)).body.id).toBe(first.body.id);

    const repeated = await ended();
    const one = await retry(repeated);
    expect((await retry(repeated, {}, { "x-stainless-retry-count": "1" })).body.id).toBe(one.body.id);
    expect(await retry(repeated, { error_codes: ["item_failed"] }, { "x-stainless-retry-count": "1" })).toMatchObject({ status: 409 });
  });

  it("with other codes at once is one of the two, whole", async () => {
    const id = await ended();
    const [one, two] = await Promise.all([retry(id, { error_codes: ["item_failed"] }), retry(id, { error_codes: ["image_not_found"] })]);
    expect([one.status, two.status].toSorted((a, b) => a - b)).toEqual([200, 409]);
    const wanted = one.status === 200 ? ["item_failed"] : ["image_not_found"];
    expect(await stored(batchKeys(retryId(id)).request)).toMatchObject({ retry: { error_codes: wanted } });
    expect(await service.queue.batch(retryId(id))).toMatchObject({ retry: { error_codes: wanted } });
  });

  it("with other codes while the first is being written is refused, whatever the store makes of conditions", async () => {
    const id = await ended();
    let second: Answer | null = null;
    service.beforeWrite(async () => {
      service.beforeWrite(null);
      second = await retry(id, { error_codes: ["image_not_found"] });
    });
    expect(await retry(id, { error_codes: ["item_failed"] })).toMatchObject({ status: 200 });
    expect(second).toMatchObject(conflict(/is being retried or deleted by another request/));
    expect(await service.queue.batch(retryId(id))).toMatchObject({ retry: { error_codes: ["item_failed"] } });
  });

  it("goes on where its first try broke off after batch.json", async () => {
    const id = await ended();
    const other = await ended();
    const request = await stored(batchKeys((await retry(other)).body.id).request);
    const begun = { ...request, id: retryId(id), retry: { ...request.retry, lineage: [id] } };
    await service.put(serviceBucket, batchKeys(begun.id).request, JSON.stringify(begun));
    // Whatever this one asks for: what was begun is finished first.
    expect(await retry(id, { error_codes: ["item_failed"] })).toMatchObject({ status: 409 });
    expect(await service.queue.batch(begun.id)).toMatchObject({ status: "validating", model: { key: modelKey } });
  });
});
