/**
 * Reads what S3 holds of a batch that hasn't ended, as far as it is to be believed: the newest rebuild, and what was written in its epoch or later.
 * Owns which objects are looked at, and that a large batch's shown parts aren't listed again. Refuses to choose among them.
 */
import { CodedError, control, frontier, plan, rebuilt, seal, type Frontier, type Plan, type Rebuilt } from "@flamboyance/contracts";
import type { ControlEntry } from "@flamboyance/queue";
import { batchKeys, numberInName, partInName, readJson, type BatchKeys, type ListedObject, type Storage } from "@flamboyance/storage";
import type { StoredState } from "./choose-state.ts";

interface Reading {
  readonly storage: Storage;
  readonly bucket: string;
  readonly signal: AbortSignal;
}

export async function readStoredState(reading: Reading, id: string): Promise<StoredState> {
  const keys = batchKeys(id);
  const base = await newest(reading, keys.rebuiltPrefix, 0, rebuilt);
  const epoch = base?.epoch ?? 0;
  const sealed = await newest(reading, keys.sealPrefix, epoch, seal);
  const frontiers = await inSlices(await numbered(reading, keys.frontierPrefix, epoch), ({ key }) => readOwn(reading, key, frontier));
  const plans = await readPlans(reading, keys);
  const believed = base?.plan ?? frontiers[0]?.plan ?? null;
  const isSealed = sealed !== null || (base !== null && base.seal !== null);
  const shown = shownChunks(base, frontiers);
  const parts: StoredState["parts"][number][] = [];
  for (const { plan: name } of isSealed ? [] : plans.filter((whole) => believed === null || whole.plan === believed)) {
    const range = { signal: reading.signal, startAfter: keys.beforeParts(name, shown) };
    for await (const { key } of reading.storage.list({ bucket: reading.bucket, key: keys.planParts(name) }, range)) {
      const part = partInName(key);
      if (part !== null) parts.push({ plan: name, ...part });
    }
  }
  return { base, seal: sealed, frontiers, plans, parts, controls: await readControls(reading, keys) };
}

/** So many chunks from the first on are named. */
function shownChunks(base: Rebuilt | null, frontiers: readonly Frontier[]): number {
  let shown = base?.shown.chunks ?? 0;
  for (const { from, chunks } of frontiers) if (from <= shown) shown = Math.max(shown, chunks);
  return shown;
}

/** Plans whose plan.json stands: without it a plan's folder doesn't exist. */
async function readPlans(reading: Reading, keys: BatchKeys): Promise<Plan[]> {
  const manifests: string[] = [];
  for await (const { key } of reading.storage.list({ bucket: reading.bucket, key: keys.planPrefix }, reading)) {
    const name = key.slice(keys.planPrefix.length).split("/")[0] ?? "";
    if (key === keys.plan(name).manifest) manifests.push(key);
  }
  return inSlices(manifests, (key) => readOwn(reading, key, plan));
}

async function readControls(reading: Reading, keys: BatchKeys): Promise<ControlEntry[]> {
  return inSlices(await numbered(reading, keys.controlPrefix, 0), async ({ key, number, lastModified }) => ({
    number,
    at: Math.floor(lastModified.getTime() / 1_000),
    control: await readOwn(reading, key, control),
  }));
}

/** The object of the highest number; null where there is none from `atLeast` on. */
async function newest<Value>(reading: Reading, prefix: string, atLeast: number, schema: Schema<Value>): Promise<Value | null> {
  const last = (await numbered(reading, prefix, atLeast)).at(-1);
  return last === undefined ? null : readOwn(reading, last.key, schema);
}

/** Those below the prefix whose name's number is no lower, the lowest first. */
async function numbered({ storage, bucket, signal }: Reading, prefix: string, atLeast: number) {
  const found: (ListedObject & { readonly number: number })[] = [];
  for await (const object of storage.list({ bucket, key: prefix }, { signal })) {
    const number = numberInName(object.key);
    if (number !== null && number >= atLeast) found.push({ ...object, number });
  }
  return found.toSorted((a, b) => a.number - b.number || (a.key < b.key ? -1 : 1));
}

interface Schema<Value> {
  readonly parse: (value: unknown) => Value;
}

/** One that was listed. */
async function readOwn<Value>({ storage, bucket, signal }: Reading, key: string, schema: Schema<Value>): Promise<Value> {
  const value = await readJson(storage, { bucket, key }, schema, signal);
  if (value === null) throw new CodedError("storage_changed", `${key} went while it was read`);
  return value;
}

const readsAtOnce = 16;

async function inSlices<Value, Result>(values: readonly Value[], read: (value: Value) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (let first = 0; first < values.length; first += readsAtOnce) {
    results.push(...(await Promise.all(values.slice(first, first + readsAtOnce).map(read))));
  }
  return results;
}
