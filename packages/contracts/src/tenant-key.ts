/**
 * Keys to call the service with, and whose they are. A tenant's keys stand in the service's bucket, each as its hash; those that the configuration holds
 * (`tenantKeys`) come before any of them: the first administrator's, a demo's. A key is 256 random bits, so a plain sha256 can't be searched backwards.
 * Recognising one is the api's.
 */
import { z } from "zod";
import { access, plainName, type Access } from "./access.ts";
import { limits } from "./limits.ts";
import { quotas, type Quotas } from "./quotas.ts";

/** What a key may do. read: look at batches, results, models. submit: also retries. control: cancel, pause, resume, priority, deadline, delete. admin: tenants and keys, and no batch for that. */
export const scope = z.enum(["read", "submit", "control", "admin"]);
export type Scope = z.infer<typeof scope>;

const scopes = z
  .array(scope)
  .min(1)
  .max(scope.options.length)
  .refine((all) => new Set(all).size === all.length, "must be different scopes");
/** What a key may do where nobody said. */
const usualScopes: Scope[] = ["read", "submit", "control"];

/** A tenant's share of the workers: one of weight 3 gets three items for each of a tenant of weight 1, while both have some. */
export const weight = z.int().min(1).max(limits.weight);

/** A tenant as its administrator says it to be. */
export const putTenant = access.extend({ weight: weight.default(1), quotas: quotas.default({}) });
export type PutTenant = z.output<typeof putTenant>;
export type PutTenantInput = z.input<typeof putTenant>;

/** tenants/<tenant>/tenant.json, and the wire's. */
export const tenant = z.object({ object: z.literal("tenant"), tenant: plainName, ...putTenant.shape, updated_at: z.int() });
export type Tenant = z.infer<typeof tenant>;

export const tenantList = z.object({
  object: z.literal("list"),
  data: z.array(tenant),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
});
export type TenantList = z.infer<typeof tenantList>;

/** tenants/<tenant>/keys/<number>/key.json: a key but for itself. */
export const storedKey = z.object({
  tenant: plainName,
  name: plainName,
  sha256: z.string(),
  scopes,
  created_at: z.int(),
  expires_at: z.int().nullable(),
});
export type StoredKey = z.infer<typeof storedKey>;

/** A key as the wire shows it: all but itself. */
export const apiKey = z.object({
  id: z.string().describe("The key's first part; what comes behind it is the secret."),
  object: z.literal("key"),
  tenant: z.string(),
  name: z.string(),
  scopes,
  created_at: z.int(),
  expires_at: z.int().nullable().describe("From then on it isn't known any more."),
  revoked_at: z.int().nullable(),
});
export type ApiKey = z.infer<typeof apiKey>;

/** The only answer that ever holds a key. */
export const newApiKey = apiKey.extend({ key: z.string().describe("Shown this once; the service keeps its hash alone.") });
export type NewApiKey = z.infer<typeof newApiKey>;

export const apiKeyList = z.object({
  object: z.literal("list"),
  data: z.array(apiKey),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
});
export type ApiKeyList = z.infer<typeof apiKeyList>;

const seconds = z.int("must be a whole number of seconds");

export const createApiKey = z.strictObject({
  tenant: plainName,
  name: plainName.default("main").describe("Which of the tenant's keys this is; for people and logs."),
  scopes: scopes.default(usualScopes),
  expires_in: seconds.min(1).max(limits.keySeconds).optional().describe("Seconds until it ends by itself. Without it: never."),
});
export type CreateApiKeyInput = z.input<typeof createApiKey>;

export const rotateApiKey = z.strictObject({
  grace: seconds.min(0).max(limits.keyGraceSeconds).default(86_400).describe("Seconds for which the old key is still good."),
});
export type RotateApiKeyInput = z.input<typeof rotateApiKey>;

/** The id's two parts, for `<tenant>_<number>`; null for what is none. The number is a ULID in lower case. */
export function parseKeyId(id: string): { readonly tenant: string; readonly number: string } | null {
  const found = /^([a-z0-9][a-z0-9._-]{0,63})_([0-9a-hjkmnp-tv-z]{26})$/.exec(id);
  return found?.[1] === undefined || found[2] === undefined ? null : { tenant: found[1], number: found[2] };
}

/** `flamboyance_<id>_<secret>`: the id says where its hash stands. Null where it isn't such a key. */
export function keyIdOf(key: string): string | null {
  return /^flamboyance_(.+)_[A-Za-z0-9_-]{43}$/.exec(key)?.[1] ?? null;
}

/** A key of this id, with the hash that is kept of it. */
export async function newKey(id: string): Promise<{ readonly key: string; readonly sha256: string }> {
  const random = crypto.getRandomValues(new Uint8Array(32));
  const secret = btoa(String.fromCharCode(...random))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
  const key = `flamboyance_${id}_${secret}`;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
  return { key, sha256: Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("") };
}

/** A key that the configuration holds, with its tenant's rights in it. */
export const tenantKey = z.strictObject({
  tenant: plainName,
  name: plainName,
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits"),
  scopes: scopes.default(usualScopes),
  /** Read from and written to. */
  buckets: access.shape.write,
  /** Read from too: buckets, folders, hosts. */
  read: access.shape.read,
  credentials: access.shape.credentials,
  weight: weight.default(1),
  quotas: quotas.default({}),
});
export type TenantKey = z.infer<typeof tenantKey>;

/** The configuration's list of keys. */
export const tenantKeys = z
  .array(tenantKey)
  .refine((keys) => new Set(keys.map((key) => key.sha256)).size === keys.length, "holds one key twice")
  .refine(
    (keys) => keys.every(({ tenant: name, weight: own }) => keys.every((other) => other.tenant !== name || other.weight === own)),
    "gives a tenant two weights",
  )
  .refine(
    (keys) => keys.every(({ tenant: name, quotas: own }) => keys.every((other) => other.tenant !== name || sameQuotas(other.quotas, own))),
    "gives a tenant two quotas",
  );

export function accessOf({ buckets, read, credentials }: TenantKey): Access {
  return { read: [...buckets, ...read], write: buckets, credentials };
}

/** Makes a key and its entry for the configuration. Throws a ZodError for a name or bucket that can't be. */
export async function newTenantKey(
  entry: Omit<z.input<typeof tenantKey>, "sha256">,
): Promise<{ readonly key: string; readonly entry: TenantKey }> {
  const { key, sha256 } = await newKey(entry.tenant);
  return { key, entry: tenantKey.parse({ ...entry, sha256 }) };
}

function sameQuotas(one: Quotas, other: Quotas): boolean {
  return quotas.keyof().options.every((quota) => one[quota] === other[quota]);
}
