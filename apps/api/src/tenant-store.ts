/**
 * Tenants and their keys, as they stand in the service's bucket. Owns what each object says and the order of a listing.
 * A key's objects are only ever added: one that was revoked stays so, whoever writes at the same time. Refuses to know a key's text: it comes and goes with the answer that made it.
 */
import {
  apiKey,
  CodedError,
  newKey,
  parseKeyId,
  plainName,
  storedKey,
  tenant as tenantSchema,
  type ApiKey,
  type NewApiKey,
  type PutTenant,
  type StoredKey,
  type Tenant,
} from "@flamboyance/contracts";
import { newUlid } from "@flamboyance/queue";
import { readJson, tenantObjects, tenantsPrefix, type Storage } from "@flamboyance/storage";
import { z } from "zod";
import type { FoundKey } from "./recognise-key.ts";

export interface Page<Value> {
  readonly data: Value[];
  readonly hasMore: boolean;
}

export interface PageOptions {
  /** The last id of the page before. */
  readonly after?: string | undefined;
  readonly limit: number;
}

export interface TenantStore {
  tenant(name: string, signal: AbortSignal): Promise<Tenant | null>;
  /** What stood there before is replaced. */
  putTenant(name: string, facts: PutTenant, signal: AbortSignal): Promise<Tenant>;
  /** By name. */
  tenants(page: PageOptions, signal: AbortSignal): Promise<Page<Tenant>>;
  /** As a caller's key is recognised: null where it isn't there or was revoked, or its tenant isn't there. */
  findKey(id: string, signal: AbortSignal): Promise<FoundKey | null>;
  /** Throws not_found for a tenant that isn't there. */
  createKey(facts: Pick<StoredKey, "tenant" | "name" | "scopes" | "expires_at">, signal: AbortSignal): Promise<NewApiKey>;
  /** By tenant, then by age. */
  keys(page: PageOptions & { readonly tenant?: string | undefined }, signal: AbortSignal): Promise<Page<ApiKey>>;
  /** Safe to call again. Throws not_found. */
  revokeKey(id: string, signal: AbortSignal): Promise<ApiKey>;
  /** A new key with the old one's tenant, name, scopes and life; the old one ends after the grace. Throws not_found, and conflict for one that has ended or was rotated before. */
  rotateKey(id: string, graceSeconds: number, signal: AbortSignal): Promise<NewApiKey>;
}

const moment = z.object({ at: z.int() });

/** Requests that a listing has under way at once. */
const readsAtOnce = 16;

export function openTenantStore(storage: Storage, bucket: string): TenantStore {
  const write = (key: string, value: object, signal: AbortSignal) =>
    storage.write({ bucket, key }, JSON.stringify(value), { contentType: "application/json", signal });
  const read = <Value>(key: string, schema: { readonly parse: (value: unknown) => Value }, signal: AbortSignal) =>
    readJson(storage, { bucket, key }, schema, signal);

  const tenant: TenantStore["tenant"] = (name, signal) =>
    plainName.safeParse(name).success ? read(tenantObjects(name).tenant, tenantSchema, signal) : Promise.resolve(null);

  /** What stands of a key, in one look: which of its objects are there, and then these. */
  const look = async (id: string, signal: AbortSignal) => {
    const parsed = parseKeyId(id);
    if (parsed === null) return null;
    const objects = tenantObjects(parsed.tenant).key(parsed.number);
    const there = new Set<string>();
    for await (const { key } of storage.list({ bucket, key: objects.folderPrefix }, { signal })) there.add(key);
    const when = async (key: string) => (there.has(key) ? ((await read(key, moment, signal))?.at ?? null) : null);
    const key = there.has(objects.key) ? await read(objects.key, storedKey, signal) : null;
    return key === null ? null : { objects, key, rotatedEnd: await when(objects.ends), revokedAt: await when(objects.revoked) };
  };
  type Looked = NonNullable<Awaited<ReturnType<typeof look>>>;

  const endOf = ({ key, rotatedEnd }: Pick<Looked, "key" | "rotatedEnd">): number | null => {
    const ends = [key.expires_at, rotatedEnd].filter((end) => end !== null);
    return ends.length === 0 ? null : Math.min(...ends);
  };
  const show = (id: string, looked: Omit<Looked, "objects">): ApiKey => {
    const { tenant: owner, name, scopes, created_at } = looked.key;
    return apiKey.parse({
      id,
      object: "key",
      tenant: owner,
      name,
      scopes,
      created_at,
      expires_at: endOf(looked),
      revoked_at: looked.revokedAt,
    });
  };
  const existing = async (id: string, signal: AbortSignal): Promise<Looked> => {
    const looked = await look(id, signal);
    if (looked === null) throw new CodedError("not_found", `There is no key ${id}.`, { param: "id" });
    return looked;
  };

  const createKey: TenantStore["createKey"] = async (facts, signal) => {
    if ((await tenant(facts.tenant, signal)) === null)
      throw new CodedError("not_found", `There is no tenant ${facts.tenant}.`, { param: "tenant" });
    const number = newUlid();
    const id = `${facts.tenant}_${number}`;
    const { key, sha256 } = await newKey(id);
    const stored: StoredKey = { ...facts, sha256, created_at: now() };
    await write(tenantObjects(facts.tenant).key(number).key, stored, signal);
    return { ...show(id, { key: stored, rotatedEnd: null, revokedAt: null }), key };
  };

  return {
    tenant,
    createKey,
    putTenant: async (name, facts, signal) => {
      const value: Tenant = { object: "tenant", tenant: name, ...facts, updated_at: now() };
      await write(tenantObjects(name).tenant, value, signal);
      return value;
    },
    tenants: async ({ after, limit }, signal) => {
      const names: string[] = [];
      const startAfter = after === undefined ? undefined : tenantObjects(after).folderPrefix;
      for await (const folder of storage.folders({ bucket, key: tenantsPrefix }, listing(signal, startAfter))) {
        names.push(folder.slice(tenantsPrefix.length, -1));
        if (names.length > limit) break;
      }
      const data = await inTurns(names.slice(0, limit), (name) => tenant(name, signal));
      return { data: data.filter((each) => each !== null), hasMore: names.length > limit };
    },
    findKey: async (id, signal) => {
      const looked = await look(id, signal);
      if (looked === null || looked.revokedAt !== null) return null;
      const owner = await tenant(looked.key.tenant, signal);
      return owner === null ? null : { key: looked.key, tenant: owner, endsAt: endOf(looked) };
    },
    keys: async ({ tenant: name, after, limit }, signal) => {
      const prefix = name === undefined ? tenantsPrefix : tenantObjects(name).keysPrefix;
      const last = after === undefined ? null : parseKeyId(after);
      if (after !== undefined && last === null) throw new CodedError("invalid_cursor", "`after` isn't a key's id.", { param: "after" });
      // Behind all of that key's objects.
      const startAfter = last === null ? undefined : `${tenantObjects(last.tenant).key(last.number).folderPrefix}~`;
      const ids: string[] = [];
      for await (const { key } of storage.list({ bucket, key: prefix }, listing(signal, startAfter))) {
        const [, owner, number] = /^tenants\/([^/]+)\/keys\/([^/]+)\/key\.json$/.exec(key) ?? [];
        if (owner !== undefined && number !== undefined) ids.push(`${owner}_${number}`);
        if (ids.length > limit) break;
      }
      const data = await inTurns(ids.slice(0, limit), async (id) => show(id, await existing(id, signal)));
      return { data, hasMore: ids.length > limit };
    },
    revokeKey: async (id, signal) => {
      const looked = await existing(id, signal);
      const at = looked.revokedAt ?? now();
      if (looked.revokedAt === null) await write(looked.objects.revoked, { at }, signal);
      return show(id, { ...looked, revokedAt: at });
    },
    rotateKey: async (id, graceSeconds, signal) => {
      const looked = await existing(id, signal);
      const { key, objects, rotatedEnd, revokedAt } = looked;
      const end = endOf(looked);
      if (revokedAt !== null || (end !== null && end <= now())) throw new CodedError("conflict", `${id} has ended: make a new key.`);
      if (rotatedEnd !== null) throw new CodedError("conflict", `${id} was rotated already, and ends by itself.`);
      const life = key.expires_at === null ? null : now() + (key.expires_at - key.created_at);
      // The new one first: whoever is cut off here still has the old one.
      const made = await createKey({ tenant: key.tenant, name: key.name, scopes: key.scopes, expires_at: life }, signal);
      await write(objects.ends, { at: now() + graceSeconds }, signal);
      return made;
    },
  };
}

const now = (): number => Math.floor(Date.now() / 1_000);

function listing(signal: AbortSignal, startAfter: string | undefined): { readonly signal: AbortSignal; readonly startAfter?: string } {
  return { signal, ...(startAfter === undefined ? {} : { startAfter }) };
}

/** In the names' order, some at once. */
async function inTurns<Value>(names: readonly string[], read: (name: string) => Promise<Value>): Promise<Value[]> {
  const values: Value[] = [];
  for (let first = 0; first < names.length; first += readsAtOnce)
    values.push(...(await Promise.all(names.slice(first, first + readsAtOnce).map(read))));
  return values;
}
