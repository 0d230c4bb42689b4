import { newKey, newTenantKey, type Tenant } from "@flamboyance/contracts";
import { expect, it, vi } from "vitest";
import { openKeyRing, type FoundKey, type KeyRingOptions } from "./recognise-key.ts";

const signal = new AbortController().signal;
const number = "01kb1s3j9v5n0c8x2m4q6r7t9w";
const id = `birds_${number}`;
const { key, sha256 } = await newKey(id);
const tenant: Tenant = {
  object: "tenant",
  tenant: "birds",
  read: ["birds"],
  write: [],
  credentials: [],
  weight: 2,
  quotas: {},
  updated_at: 0,
};
const stored: FoundKey = {
  key: { tenant: "birds", name: "main", sha256, scopes: ["read"], created_at: 0, expires_at: null },
  tenant,
  endsAt: null,
};
const ring = (options: Partial<KeyRingOptions>) =>
  openKeyRing({ entries: [], find: () => Promise.resolve(null), believedMs: 60_000, ...options });

it("recognises the configuration's keys by their hash alone, without a look at S3", async () => {
  const first = await newTenantKey({ tenant: "demo", name: "main", buckets: ["demo-*"] });
  const second = await newTenantKey({ tenant: "other", name: "main", buckets: ["*"], scopes: ["admin"] });
  expect(JSON.stringify([first.entry, second.entry])).not.toContain(first.key);
  const find = vi.fn<KeyRingOptions["find"]>(() => Promise.resolve(null));
  const held = ring({ entries: [first.entry, second.entry], find });
  expect(await held.recognise(first.key, signal)).toMatchObject({
    tenant: "demo",
    key: "demo/main",
    scopes: ["read", "submit", "control"],
  });
  expect(await held.recognise(second.key, signal)).toMatchObject({
    tenant: "other",
    scopes: ["admin"],
    access: { read: ["*"], write: ["*"] },
  });
  expect(find).not.toHaveBeenCalled();
  expect(await held.recognise(first.entry.sha256, signal)).toBeNull();
});

it("recognises a stored key by its id and its hash, both", async () => {
  const held = ring({ find: (asked) => Promise.resolve(asked === id ? stored : null) });
  expect(await held.recognise(key, signal)).toEqual({
    tenant: "birds",
    key: id,
    scopes: ["read"],
    access: { read: ["birds"], write: [], credentials: [] },
    weight: 2,
    quotas: {},
  });
  expect(await held.recognise((await newKey(id)).key, signal)).toBeNull();
  expect(await held.recognise((await newKey("birds_01kb1s3j9v5n0c8x2m4q6r7t9x")).key, signal)).toBeNull();
  expect(await held.recognise(key.slice(0, -1), signal)).toBeNull();
});

it("knows no key that has ended", async () => {
  const now = Math.floor(Date.now() / 1_000);
  const ending = (endsAt: number) => ring({ find: () => Promise.resolve({ ...stored, endsAt }) }).recognise(key, signal);
  expect(await ending(now)).toBeNull();
  expect(await ending(now + 60)).toMatchObject({ tenant: "birds" });
});

it("asks S3 once for all who ask together, and again when it is told to or the time is over", async () => {
  const find = vi.fn<KeyRingOptions["find"]>(() => Promise.resolve(stored));
  const held = ring({ find });
  await Promise.all([1, 2, 3].map(() => held.recognise(key, signal)));
  expect(find).toHaveBeenCalledTimes(1);
  held.forget({ id });
  await held.recognise(key, signal);
  held.forget({ tenant: "birds" });
  await held.recognise(key, signal);
  held.forget({ tenant: "bird" });
  await held.recognise(key, signal);
  expect(find).toHaveBeenCalledTimes(3);
  const impatient = ring({ find, believedMs: 0 });
  await impatient.recognise(key, signal);
  await impatient.recognise(key, signal);
  expect(find).toHaveBeenCalledTimes(5);
});

it("keeps no failure, and no more than it may", async () => {
  const find = vi.fn<KeyRingOptions["find"]>(() => Promise.reject(new Error("away")));
  const failing = ring({ find });
  for (let time = 0; time < 2; time++) await expect(failing.recognise(key, signal)).rejects.toThrow("away");
  expect(find).toHaveBeenCalledTimes(2);
  const counted = vi.fn<KeyRingOptions["find"]>(() => Promise.resolve(null));
  const small = ring({ find: counted, most: 2 });
  const keys = await Promise.all(["a", "b", "c"].map((end) => newKey(`birds_${number.slice(0, -1)}${end}`)));
  for (const each of [...keys, ...keys]) await small.recognise(each.key, signal);
  expect(counted).toHaveBeenCalledTimes(6);
});
