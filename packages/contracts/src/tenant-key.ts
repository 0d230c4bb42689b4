/**
 * A tenant's bearer key: what the configuration holds of it (a hash, never the key), and how one is made.
 * A key is 256 random bits, so a plain sha256 can't be searched backwards. Recognising one is the api's.
 */
import { z } from "zod";
import { limits } from "./limits.ts";
import { quotas, type Quotas } from "./quotas.ts";

const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "must be lower-case letters, digits, dot, dash or underscore");

/** A tenant's share of the workers: one of weight 3 gets three items for each of a tenant of weight 1, while both have some. */
export const weight = z.int().min(1).max(limits.weight);

export const tenantKey = z.strictObject({
  tenant: name,
  /** Which of the tenant's keys this is; for people and logs. */
  name,
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits"),
  /** Patterns of buckets that the tenant's batches may read and write; `*` stands for any characters. */
  buckets: z.array(z.string().regex(/^[a-z0-9.*-]{1,63}$/, "must be a bucket's name, * allowed")).min(1, "must name a bucket"),
  weight: weight.default(1),
  quotas: quotas.default({}),
});
export type TenantKey = z.infer<typeof tenantKey>;

/** The configuration's list of keys. */
export const tenantKeys = z
  .array(tenantKey)
  .min(1, "must hold a key")
  .refine((keys) => new Set(keys.map((key) => key.sha256)).size === keys.length, "holds one key twice")
  .refine(
    (keys) => keys.every(({ tenant, weight: own }) => keys.every((other) => other.tenant !== tenant || other.weight === own)),
    "gives a tenant two weights",
  )
  .refine(
    (keys) => keys.every(({ tenant, quotas: own }) => keys.every((other) => other.tenant !== tenant || sameQuotas(other.quotas, own))),
    "gives a tenant two quotas",
  );

function sameQuotas(one: Quotas, other: Quotas): boolean {
  return one.items_queued === other.items_queued && one.running_batches === other.running_batches;
}

/** Makes a key: shown once to its owner; the entry belongs into the configuration. Throws a ZodError for a name or bucket that can't be. */
export async function newKey(tenant: string, keyName: string, buckets: readonly string[]): Promise<{ key: string; entry: TenantKey }> {
  const random = crypto.getRandomValues(new Uint8Array(32));
  const key = `flamboyance_${btoa(String.fromCharCode(...random))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "")}`;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
  const sha256 = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { key, entry: tenantKey.parse({ tenant, name: keyName, sha256, buckets }) };
}
