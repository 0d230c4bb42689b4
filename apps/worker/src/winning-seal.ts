/** The seal that an ended batch's end.json names, from among all that were written. */
import { seal as sealSchema, type End, type Seal } from "@flamboyance/contracts";
import { batchKeys, readJson, type Storage } from "@flamboyance/storage";

export interface WinningSeal {
  readonly key: string;
  readonly seal: Seal;
}

/** Null where it can't be seen any more: then it isn't known which plan won. */
export async function findWinningSeal(
  storage: Storage,
  bucket: string,
  id: string,
  { seal: name }: Pick<End, "seal">,
  signal: AbortSignal,
): Promise<WinningSeal | null> {
  for await (const { key } of storage.list({ bucket, key: batchKeys(id).sealPrefix }, { signal })) {
    if (!key.endsWith(`-${name}.json`)) continue;
    const seal = await readJson(storage, { bucket, key }, sealSchema, signal);
    if (seal !== null) return { key, seal };
  }
  return null;
}
