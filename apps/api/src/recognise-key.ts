/** Whose key was sent. Hashes are compared in constant time, all of them, so that time tells nothing about where one stands. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { TenantKey } from "@flamboyance/contracts";

/** The entry whose key this is, or null. */
export function recogniseKey(entries: readonly TenantKey[], key: string): TenantKey | null {
  const hash = createHash("sha256").update(key).digest();
  let found: TenantKey | null = null;
  for (const entry of entries) {
    if (timingSafeEqual(hash, Buffer.from(entry.sha256, "hex"))) found = entry;
  }
  return found;
}
