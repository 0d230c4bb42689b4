/**
 * The model catalogue in the service's bucket: which names it holds, and each one's description as it was written.
 * Owns what a name may be. Refuses to understand a description: what is needed of it its reader parses.
 */
import { modelKeys, modelsPrefix } from "./keys.ts";
import type { Storage } from "./storage.ts";

const descriptionBytes = 16 * 1024 * 1024;

/** Only such names become part of a key. */
export function isModelName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/.test(text);
}

/** Names with a flamingo.json, in key order. */
export async function listModelNames(storage: Pick<Storage, "list">, bucket: string, signal: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  for await (const { key } of storage.list({ bucket, key: modelsPrefix }, { signal })) {
    const name = key.slice(modelsPrefix.length).split("/")[0] ?? "";
    if (isModelName(name) && key === modelKeys(name).manifest) names.push(name);
  }
  return names;
}

/** The bytes of the model's flamingo.json. Throws `storage_not_found` where the catalogue doesn't hold it. */
export async function readModelDescription(
  storage: Pick<Storage, "read">,
  bucket: string,
  name: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  return (await storage.read({ bucket, key: modelKeys(name).manifest }, { signal, maxBytes: descriptionBytes })).bytes;
}
