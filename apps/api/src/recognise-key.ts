/**
 * Whose key was sent. The configuration's are compared all of them, so that time tells nothing about where one stands; any other names its own id, under which S3 has its
 * hash. What S3 said is believed for some seconds, also that there is no such key: within these a revoked key ends in every process, in the one that revoked it at once.
 * Owns that bounded memory; refuses to believe longer where S3 is away.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { CodedError, keyIdOf, type StoredKey, type Tenant, type TenantKey } from "@flamboyance/contracts";
import { configuredCaller, type Caller } from "./caller.ts";

/** A key as it stands in S3, and its tenant. */
export interface FoundKey {
  readonly key: StoredKey;
  readonly tenant: Tenant;
  /** From then on it isn't known, in Unix seconds; null: never. */
  readonly endsAt: number | null;
}

export interface KeyRing {
  /** Null for a key that isn't known, has ended or was revoked. Rejects as S3 does. */
  recognise(key: string, signal: AbortSignal): Promise<Caller | null>;
  /** What was believed of this key, or of all of a tenant's, is asked again. */
  forget(which: { readonly id: string } | { readonly tenant: string }): void;
}

export interface KeyRingOptions {
  /** The configuration's. */
  readonly entries: readonly TenantKey[];
  /** Asks S3; null where there is no such key, or it was revoked. */
  readonly find: (id: string, signal: AbortSignal) => Promise<FoundKey | null>;
  readonly believedMs: number;
  /** Believed at once: 10,000. */
  readonly most?: number;
  /** Looks at S3 under way at once for keys of which nothing is believed: 16. More are refused, so that made-up keys don't hold up S3 and everybody's. */
  readonly strangers?: number;
}

interface Belief {
  readonly found: Promise<FoundKey | null>;
  readonly untilMs: number;
  /** There is such a key. */
  good: boolean;
}

export function openKeyRing({ entries, find, believedMs, most = 10_000, strangers = 16 }: KeyRingOptions): KeyRing {
  const beliefs = new Map<string, Belief>();
  let underWay = 0;

  const look = (id: string): Promise<FoundKey | null> => {
    const known = beliefs.get(id);
    if (known !== undefined && performance.now() < known.untilMs) return known.found;
    // A key that was good a moment ago goes past those that nobody has seen.
    const stranger = known === undefined || !known.good;
    if (stranger && underWay >= strangers) throw new CodedError("rate_limited", "Too many unknown keys are being looked up just now.");
    // Whoever asks at the same time waits for the same answer, so it isn't any one caller's to give up.
    const found = find(id, AbortSignal.timeout(lookTimeoutMs));
    const belief: Belief = { found, untilMs: performance.now() + believedMs, good: false };
    if (stranger) underWay += 1;
    beliefs.delete(id);
    beliefs.set(id, belief);
    found
      .then(
        (key) => (belief.good = key !== null),
        () => {
          if (beliefs.get(id) === belief) beliefs.delete(id);
        },
      )
      .finally(() => {
        if (stranger) underWay -= 1;
      });
    const [oldest] = beliefs.keys();
    if (beliefs.size > most && oldest !== undefined) beliefs.delete(oldest);
    return found;
  };

  return {
    recognise: async (key, signal) => {
      const hash = createHash("sha256").update(key).digest();
      const entry = configured(entries, hash);
      if (entry !== null) return configuredCaller(entry);
      const id = keyIdOf(key);
      if (id === null) return null;
      const found = await look(id);
      signal.throwIfAborted();
      if (found === null || !timingSafeEqual(hash, Buffer.from(found.key.sha256, "hex"))) return null;
      if (found.endsAt !== null && found.endsAt <= Date.now() / 1_000) return null;
      const { read, write, credentials, weight, quotas, tenant } = found.tenant;
      return { tenant, key: id, scopes: found.key.scopes, access: { read, write, credentials }, weight, quotas };
    },
    forget: (which) => {
      if ("id" in which) beliefs.delete(which.id);
      else for (const id of beliefs.keys()) if (id.startsWith(`${which.tenant}_`)) beliefs.delete(id);
    },
  };
}

const lookTimeoutMs = 5_000;

/** The entry whose key has this hash, or null. */
function configured(entries: readonly TenantKey[], hash: Buffer): TenantKey | null {
  let found: TenantKey | null = null;
  for (const entry of entries) {
    if (timingSafeEqual(hash, Buffer.from(entry.sha256, "hex"))) found = entry;
  }
  return found;
}
