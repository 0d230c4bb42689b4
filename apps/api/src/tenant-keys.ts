/**
 * Tenants' bearer keys: what the configuration holds of them (a hash, never the key), how one is made, how one is recognised.
 * A key is 256 random bits, so a plain sha256 can't be searched backwards; hashes are compared in constant time.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { z } from "zod";

const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "must be lower-case letters, digits, dot, dash or underscore");

export const tenantKey = z.strictObject({
  tenant: name,
  /** Which of the tenant's keys this is; for people and logs. */
  name,
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits"),
  /** Patterns of buckets that the tenant's batches may read and write; `*` stands for any characters. */
  buckets: z.array(z.string().regex(/^[a-z0-9.*-]{1,63}$/, "must be a bucket's name, * allowed")).min(1),
});
export type TenantKey = z.infer<typeof tenantKey>;
export const tenantKeys = z.array(tenantKey).min(1, "must hold a key").refine(hashesDiffer, "holds one key twice");

/** Makes a key: shown once to its owner; the entry belongs into the configuration. */
export function newKey(tenant: string, keyName: string, buckets: readonly string[]): { key: string; entry: TenantKey } {
  const key = `flamboyance_${randomBytes(32).toString("base64url")}`;
  return { key, entry: tenantKey.parse({ tenant, name: keyName, sha256: digest(key).toString("hex"), buckets }) };
}

/** The entry whose key this is, or null. Looks at every entry, so that time tells nothing about where one stands. */
export function recogniseKey(entries: readonly TenantKey[], key: string): TenantKey | null {
  const hash = digest(key);
  let found: TenantKey | null = null;
  for (const entry of entries) {
    if (timingSafeEqual(hash, Buffer.from(entry.sha256, "hex"))) found = entry;
  }
  return found;
}

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

function hashesDiffer(entries: readonly { readonly sha256: string }[]): boolean {
  return new Set(entries.map((entry) => entry.sha256)).size === entries.length;
}
