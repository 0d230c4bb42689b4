import { createClient } from "@flamboyance/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { caption } from "./calls.ts";
import { serviceBucket, startService, type Service } from "./service.ts";

const forever = new AbortController().signal;
let service: Service;
let firstUrl: string;
let secondUrl: string;
beforeAll(async () => {
  service = await startService();
  firstUrl = service.address;
  // Another process of the api, which believes S3 for no time at all.
  secondUrl = await service.another({ keySeconds: 0 });
});
afterAll(() => service.close());

const admin = (method: "GET" | "POST" | "PUT", url: string, body?: object) => service.ask(url, { method, body, key: service.keys.admin });
const tenant = (name: string, facts: object = { read: ["demo-images"] }) => admin("PUT", `/v1/tenants/${name}`, facts);
const made = async (facts: object) => {
  const answer = await admin("POST", "/v1/keys", facts);
  expect(answer.status, answer.text).toBe(200);
  return answer.body;
};
const status = async (key: string, url = "/v1/batches") => (await service.ask(url, { key })).status;
const statusAtSecond = async (key: string) =>
  (await fetch(`${secondUrl}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;

describe("a key", () => {
  it("is made for a tenant, is good at once in every process, and stands nowhere but in that answer", async () => {
    await tenant("birds", { read: ["birds-*"], write: ["birds-out/results/"], weight: 3 });
    const created = await made({ tenant: "birds", name: "ci", scopes: ["read", "submit"] });
    expect(created).toMatchObject({
      object: "key",
      tenant: "birds",
      name: "ci",
      scopes: ["read", "submit"],
      expires_at: null,
      revoked_at: null,
    });
    expect(created.key).toMatch(new RegExp(`^flamboyance_${created.id}_[A-Za-z0-9_-]{43}$`));
    expect(await status(created.key)).toBe(200);
    expect(await statusAtSecond(created.key)).toBe(200);
    const secret = created.key.slice(-43);
    let objects = 0;
    for await (const { key } of service.storage.list({ bucket: serviceBucket, key: "tenants/" }, { signal: forever })) {
      const { bytes } = await service.storage.read({ bucket: serviceBucket, key }, { signal: forever });
      expect(key + Buffer.from(bytes).toString()).not.toContain(secret);
      objects += 1;
    }
    expect(objects).toBeGreaterThanOrEqual(2);
    const listed = await admin("GET", "/v1/keys?tenant=birds");
    expect(listed.body.data).toEqual([{ ...created, key: undefined }]);
    expect(listed.text).not.toContain(secret);
  });

  it("may do what its scopes say and nothing else", async () => {
    await tenant("scoped");
    const keys = new Map<string, string>();
    for (const scope of ["read", "submit", "control", "admin"])
      keys.set(scope, (await made({ tenant: "scoped", name: scope, scopes: [scope] })).key);
    const id = "batch_01hzzzzzzzzzzzzzzzzzzzzzzz";
    const calls = [
      ["read", "GET", "/v1/batches"],
      ["read", "GET", `/v1/batches/${id}`],
      ["read", "GET", `/v1/batches/${id}/results`],
      ["read", "GET", "/v1/models"],
      ["submit", "POST", "/v1/batches"],
      ["control", "POST", `/v1/batches/${id}/cancel`],
      ["control", "POST", `/v1/batches/${id}/priority`],
      ["admin", "GET", "/v1/tenants"],
      ["admin", "GET", "/v1/keys"],
      ["admin", "POST", "/v1/keys"],
      ["admin", "POST", "/v1/keys/scoped_1/revoke"],
    ] as const;
    for (const [wanted, method, url] of calls) {
      for (const [scope, key] of keys) {
        const answer = await service.ask(url, { method, key, ...(method === "POST" ? { body: {} } : {}) });
        if (scope === wanted) expect(answer.status, `${method} ${url} with ${scope}`).not.toBe(403);
        else expect(answer, `${method} ${url} with ${scope}`).toMatchObject({ status: 403, body: { error: { code: "scope_missing" } } });
      }
    }
  });

  it("that is revoked ends at once here and as soon as it isn't believed any more elsewhere, and stays revoked", async () => {
    await tenant("leaving");
    const { key, id } = await made({ tenant: "leaving" });
    expect([await status(key), await statusAtSecond(key)]).toEqual([200, 200]);
    const revoked = await admin("POST", `/v1/keys/${id}/revoke`);
    expect(revoked).toMatchObject({ status: 200, body: { id, revoked_at: expect.any(Number) } });
    expect([await status(key), await statusAtSecond(key)]).toEqual([401, 401]);
    expect((await admin("POST", `/v1/keys/${id}/revoke`)).body).toEqual(revoked.body);
    expect(await admin("POST", `/v1/keys/${id}/rotate`, {})).toMatchObject({ status: 409, body: { error: { code: "conflict" } } });
    expect(await status(key)).toBe(401);
  });

  it("is rotated: a new one with the same rights, the old one good for its grace and not longer, and not twice", async () => {
    await tenant("turning");
    const old = await made({ tenant: "turning", name: "ci", scopes: ["read"] });
    const next = await admin("POST", `/v1/keys/${old.id}/rotate`, { grace: 3_600 });
    expect(next.body).toMatchObject({ tenant: "turning", name: "ci", scopes: ["read"], expires_at: null });
    expect([await status(old.key), await status(next.body.key)]).toEqual([200, 200]);
    expect(await admin("POST", `/v1/keys/${old.id}/rotate`, {})).toMatchObject({ status: 409 });
    const listed = (await admin("GET", "/v1/keys?tenant=turning")).body.data;
    expect(listed.map(({ id }: { id: string }) => id)).toEqual([old.id, next.body.id]);
    expect(listed[0].expires_at).toBeGreaterThan(Date.now() / 1_000 + 3_500);
    await admin("POST", `/v1/keys/${next.body.id}/rotate`, { grace: 0 });
    expect([await status(next.body.key), await statusAtSecond(next.body.key)]).toEqual([401, 401]);
  });

  it("isn't known with another secret, another id, or to a tenant that isn't there", async () => {
    await tenant("near");
    const { key, id } = await made({ tenant: "near" });
    const other = await made({ tenant: "near" });
    const strangers = [
      key.slice(0, -1) + (key.endsWith("A") ? "B" : "A"),
      `flamboyance_${id}_${other.key.slice(-43)}`,
      `flamboyance_nobody_${"0".repeat(26)}_${key.slice(-43)}`,
      `flamboyance_near/../near_${"0".repeat(26)}_${key.slice(-43)}`,
    ];
    for (const stranger of strangers)
      expect(await service.ask("/v1/batches", { key: stranger })).toMatchObject({
        status: 401,
        body: { error: { code: "invalid_api_key" } },
      });
    expect(await admin("POST", "/v1/keys", { tenant: "nobody" })).toMatchObject({ status: 404, body: { error: { param: "tenant" } } });
    expect(await admin("POST", "/v1/keys/near_1/revoke")).toMatchObject({ status: 404, body: { error: { code: "not_found" } } });
  });
});

describe("a tenant", () => {
  it("is set, shown, listed page by page, and set again; what is submitted from then on has it frozen", async () => {
    const facts = { read: ["demo-images"], write: [], credentials: [], weight: 5, quotas: { running_batches: 1 } };
    expect((await tenant("a-fresh", facts)).body).toMatchObject({ object: "tenant", tenant: "a-fresh", ...facts });
    expect((await admin("GET", "/v1/tenants/a-fresh")).body).toMatchObject(facts);
    const { key } = await made({ tenant: "a-fresh" });
    const submit = async () => (await service.ask("/v1/batches", { method: "POST", key, body: caption })).body;
    const first = await submit();
    expect(first.status).toBe("validating");
    expect(await service.queue.batch(first.id)).toMatchObject({ tenant: "a-fresh" });
    const { bytes } = await service.storage.read({ bucket: serviceBucket, key: `batches/${first.id}/batch.json` }, { signal: forever });
    expect(JSON.parse(Buffer.from(bytes).toString())).toMatchObject({
      weight: 5,
      quotas: { running_batches: 1 },
      access: { read: ["demo-images"], write: [], credentials: [] },
    });
    expect((await submit()).error).toMatchObject({ code: "quota_exceeded" });
    await tenant("a-fresh", { read: ["elsewhere"] });
    expect((await submit()).error).toMatchObject({ code: "bucket_not_allowed", param: "input" });
    await tenant("b-fresh");
    const names: string[] = [];
    for (let after = ""; ;) {
      const { data, last_id: last, has_more: more } = (await admin("GET", `/v1/tenants?limit=1${after}`)).body;
      names.push(...data.map((each: { tenant: string }) => each.tenant));
      if (!more) break;
      after = `&after=${last}`;
    }
    expect(names.slice(0, 2)).toEqual(["a-fresh", "b-fresh"]);
    expect(new Set(names).size).toBe(names.length);
  });

  it("isn't what the configuration's keys say it is, and has a name and rights that can be", async () => {
    expect(await tenant("demo")).toMatchObject({ status: 409, body: { error: { code: "conflict" } } });
    for (const name of ["Birds", "a%2Fb", "..%2Fa", "-a", "a".repeat(65)]) expect((await tenant(name)).status, name).toBe(400);
    for (const facts of [
      { read: ["s3://x"] },
      { write: ["https://*"] },
      { weight: 0 },
      { quotas: { running_batches: 0 } },
      { credentials: [{ buckets: ["a*"], secret: "../x" }] },
      { other: 1 },
    ])
      expect((await tenant("fine", facts)).status, JSON.stringify(facts)).toBe(400);
    for (const [param, facts] of [
      ["read[1]", { read: ["fine", `${serviceBucket}/batches/`] }],
      ["write[0]", { write: [serviceBucket] }],
    ] as const)
      expect(await tenant("fine", facts)).toMatchObject({ status: 400, body: { error: { code: "invalid_request", param } } });
    expect((await admin("GET", "/v1/tenants/none")).status).toBe(404);
  });
});

it("the client does all of it", async () => {
  const client = createClient({ baseUrl: firstUrl, apiKey: service.keys.admin });
  await client.tenants.put("sdk", { read: ["demo-*"] });
  expect(await client.tenants.get("sdk")).toMatchObject({ weight: 1, read: ["demo-*"] });
  expect((await Array.fromAsync(client.tenants.all())).map(({ tenant: name }) => name)).toContain("sdk");
  const first = await client.keys.create({ tenant: "sdk", expires_in: 3_600 });
  const second = await client.keys.rotate(first.id, { grace: 60 });
  await client.keys.revoke(first.id);
  const keys = await Array.fromAsync(client.keys.all({ tenant: "sdk" }));
  expect(keys.map(({ id, revoked_at: revoked }) => [id, revoked !== null])).toEqual([
    [first.id, true],
    [second.id, false],
  ]);
  await expect(createClient({ baseUrl: firstUrl, apiKey: first.key }).models.list()).rejects.toMatchObject({ status: 401 });
});
