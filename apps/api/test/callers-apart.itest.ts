/** What one caller can't do to another, or to the service: see, exhaust, or leave without a trace. */
import { batchKeys } from "@flamboyance/storage";
import { newKey } from "@flamboyance/contracts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callsOf, caption } from "./calls.ts";
import { finish, plan, record } from "./hand-worker.ts";
import { serviceBucket, startService, type Service } from "./service.ts";

const forever = new AbortController().signal;
let service: Service;
const { submitted } = callsOf(() => service);
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
}

/** Every route of the document. */
async function routes(): Promise<Route[]> {
  const { paths } = (await service.ask("/openapi.json", { key: null })).body as { paths: Record<string, object> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ method: method.toUpperCase() as Route["method"], path })),
  );
}

describe("another tenant's batch", () => {
  it("is on every route just what a batch that never was is: 404, with the same words", async () => {
    const running = await submitted();
    await plan(service, running, [1]);
    const ended = await submitted();
    const made = await plan(service, ended, [1]);
    await record(service, made, [0]);
    await finish(service, made);
    const never = "batch_01hzzzzzzzzzzzzzzzzzzzzzzz";
    const mine = (await routes()).filter(({ path }) => path.startsWith("/v1/batches/"));
    expect(mine.length).toBeGreaterThanOrEqual(11);
    for (const { method, path } of mine) {
      expect(path.match(/\{/g), path).toHaveLength(1);
      // What a route may need of its body.
      const needed: Record<string, object> = { deadline: { completion_window: "48h" }, retry: {} };
      const body = method === "GET" || method === "DELETE" ? {} : { body: needed[path.split("/").at(-1) ?? ""] ?? { priority: 1 } };
      const look = async (id: string) => {
        const { status, text } = await service.ask(path.replace("{id}", id), { method, key: service.keys.other, ...body });
        return { status, text: text.replaceAll(id, "<id>") };
      };
      const nothing = await look(never);
      expect(nothing, `${method} ${path}`).toMatchObject({ status: 404 });
      for (const id of [running, ended]) expect(await look(id), `${method} ${path}`).toEqual(nothing);
    }
    expect((await service.ask("/v1/batches", { key: service.keys.other })).text).not.toContain(running);
    expect(await service.ask(`/v1/batches?after=${running}`, { key: service.keys.other })).toMatchObject({
      status: 400,
      body: { error: { code: "invalid_cursor" } },
    });
    // None of it did anything.
    expect((await service.ask(`/v1/batches/${running}`)).body).toMatchObject({ status: "in_progress", priority: 0 });
    const controls = await Array.fromAsync(
      service.storage.list({ bucket: serviceBucket, key: batchKeys(running).controlPrefix }, { signal: forever }),
    );
    expect(controls).toEqual([]);
  });

  it("lends neither its idempotency key nor a retry's memory", async () => {
    const mine = await service.ask("/v1/batches", { method: "POST", body: caption, headers: { "idempotency-key": "shared" } });
    const theirs = await service.ask("/v1/batches", {
      method: "POST",
      key: service.keys.everywhere,
      body: caption,
      headers: { "idempotency-key": "shared", "x-stainless-retry-count": "1" },
    });
    expect([mine.status, theirs.status]).toEqual([200, 200]);
    expect(theirs.body.id).not.toBe(mine.body.id);
  });
});

it("no route below /v1 answers without a key, or to one without the right", async () => {
  const scoped = await service.ask("/v1/tenants/nobody", { key: service.keys.demo });
  expect(scoped).toMatchObject({ status: 403, body: { error: { code: "scope_missing" } } });
  for (const { method, path } of await routes()) {
    const url = path.replaceAll(/\{\w+\}/g, "x");
    expect(await service.ask(url, { method, key: null }), `${method} ${path}`).toMatchObject({ status: 401 });
  }
});

describe("too many calls", () => {
  const asking = (url: string, key: string) => fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });

  it("of a key are answered 429 with the time to wait, in every process; another key's aren't", async () => {
    // One call at once, and no further one for ten seconds.
    const rate = { requestsPerSecond: 0.1 };
    const [first, second] = [await service.another(rate), await service.another(rate)];
    const { demo, everywhere } = service.keys;
    expect((await asking(first, everywhere)).status).toBe(200);
    const refused = await asking(second, everywhere);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(await refused.json()).toMatchObject({ error: { code: "rate_limited", type: "rate_limit_error" } });
    expect((await asking(second, demo)).status).toBe(200);
  });

  it("with made-up keys are refused before they hold up S3, and a key that is known goes on", async () => {
    const gate = Promise.withResolvers<void>();
    let looks = 0;
    const url = await service.another({
      keySeconds: 3_600,
      storage: {
        ...service.storage,
        list: async function* (...asked) {
          if (asked[0].key.startsWith("tenants/nobody/")) {
            looks += 1;
            await gate.promise;
          }
          yield* service.storage.list(...asked);
        },
      },
    });
    const admin = (path: string, method: "POST" | "PUT", body: object) => service.ask(path, { method, key: service.keys.admin, body });
    await admin("/v1/tenants/known", "PUT", { read: ["demo-*"] });
    const { key } = (await admin("/v1/keys", "POST", { tenant: "known" })).body;
    expect((await asking(url, key)).status).toBe(200);
    const strangers = await Promise.all(
      Array.from({ length: 40 }, (_, index) => newKey(`nobody_01kb1s3j9v5n0c8x2m4q6r7t${String(index).padStart(2, "0")}`)),
    );
    const asked = strangers.map((stranger) => asking(url, stranger.key));
    await expect.poll(() => looks, { timeout: 20_000 }).toBe(16);
    expect((await asking(url, key)).status).toBe(200);
    gate.resolve();
    const statuses = (await Promise.all(asked)).map(({ status }) => status);
    const count = (wanted: number) => statuses.filter((status) => status === wanted).length;
    expect([count(401), count(429)]).toEqual([16, 24]);
  });
});

it("the log of answers says which path was asked for, and nothing of what follows it", async () => {
  const lines: string[] = [];
  const url = await service.another({ logLevel: "info", logTo: { write: (line) => void lines.push(line) } });
  await fetch(`${url}/v1/models?api_key=a-secret-in-the-wrong-place`, { headers: { authorization: `Bearer ${service.keys.demo}` } });
  await expect.poll(() => lines.some((line) => line.includes('"url":"/v1/models"')), { timeout: 20_000 }).toBe(true);
  expect(lines.join("")).not.toContain("a-secret-in-the-wrong-place");
});

it("every change and every refused key leaves an audit line: who, what, when, what came of it, and no more than that", async () => {
  const lines: string[] = [];
  // Other lines are left out; these aren't.
  const url = await service.another({ logLevel: "error", logTo: { write: (line) => void lines.push(line) } });
  const ask = async (method: string, path: string, key: string, body?: object) => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return (await answer.json()) as { id: string; key: string };
  };
  const { demo, admin } = service.keys;
  const ran = await submitted();
  const its = await plan(service, ran, [1], [], { fails: () => "item_failed" });
  await record(service, its, [0]);
  await finish(service, its);
  const secretWord = "a-secret-word-of-the-caller";
  const batch = await ask("POST", "/v1/batches", demo, { ...caption, metadata: { word: secretWord } });
  await ask("POST", `/v1/batches/${batch.id}/cancel`, demo);
  await ask("POST", `/v1/batches/${batch.id}/deadline`, demo, { completion_window: "48h" });
  const again = await ask("POST", `/v1/batches/${ran}/retry`, demo);
  await ask("DELETE", `/v1/batches/${ran}`, demo);
  await ask("PUT", "/v1/tenants/audited", admin, { read: ["demo-*"] });
  const made = await ask("POST", "/v1/keys", admin, { tenant: "audited" });
  const next = await ask("POST", `/v1/keys/${made.id}/rotate`, admin, { grace: 0 });
  await ask("POST", `/v1/keys/${next.id}/revoke`, admin);
  await ask("GET", "/v1/batches", next.key);
  await ask("GET", "/v1/batches", "a-wrong-key-of-somebody");
  await ask("PUT", "/v1/tenants/audited", demo, { read: ["*"] });
  await ask("POST", "/v1/batches", demo, { ...caption, task: secretWord });
  await ask("GET", "/v1/batches", demo);
  const audits = lines.map((line) => JSON.parse(line)).filter(({ log }) => log === "audit");
  expect(audits.map(({ action, outcome, status, tenant, key, subject }) => [action, outcome, status, tenant, key, subject])).toEqual([
    ["createBatch", "done", 200, "demo", "demo/main", batch.id],
    ["cancelBatch", "done", 200, "demo", "demo/main", batch.id],
    ["setBatchDeadline", "failed", 409, "demo", "demo/main", batch.id],
    ["retryBatch", "done", 200, "demo", "demo/main", `${ran} → ${again.id}`],
    ["deleteBatch", "failed", 409, "demo", "demo/main", ran],
    ["putTenant", "done", 200, "operators", "operators/main", "audited"],
    ["createKey", "done", 200, "operators", "operators/main", made.id],
    ["rotateKey", "done", 200, "operators", "operators/main", `${made.id} → ${next.id}`],
    ["revokeKey", "done", 200, "operators", "operators/main", next.id],
    ["listBatches", "refused", 401, null, null, null],
    ["listBatches", "refused", 401, null, null, null],
    ["putTenant", "refused", 403, "demo", "demo/main", "audited"],
    ["createBatch", "failed", 400, "demo", "demo/main", null],
  ]);
  for (const each of audits)
    expect(each).toMatchObject({ time: expect.any(Number), from: "127.0.0.1", reqId: expect.stringMatching(/^req_/) });
  for (const secret of [demo, admin, made.key, next.key, "a-wrong-key-of-somebody", secretWord])
    expect(lines.join("")).not.toContain(secret);
});
