/** What tells a batch that is there from a submit that broke off. Both who submits and who takes up what broke off go by it. */
import { batchKeys } from "./keys.ts";
import type { Storage } from "./storage.ts";

/** Whether S3 holds more of the batch than its request: its submit didn't break off, and what there is isn't to be begun anew. */
export async function hasBegun(storage: Pick<Storage, "list">, bucket: string, id: string, signal: AbortSignal): Promise<boolean> {
  const keys = batchKeys(id);
  for await (const { key } of storage.list({ bucket, key: keys.folderPrefix }, { signal })) if (key !== keys.request) return true;
  return false;
}
