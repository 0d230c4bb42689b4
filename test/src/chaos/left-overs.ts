/** What ended rounds left in S3, looked at once their sweep is due, and then taken away. Owns which objects may stay; an end that changed since shows here, too. */
import { setTimeout as sleep } from "node:timers/promises";
import { end as endSchema, seal as sealSchema } from "@flamboyance/contracts";
import { serviceBucket } from "@flamboyance/dev/system";
import { batchKeys, readJson } from "@flamboyance/storage";
import type { Broken } from "./check-batch.ts";
import { insist } from "./owner.ts";
import type { Stage } from "./stage.ts";

/** From a batch's settling to its last look, and some patience: a round's faults hold the sweep up, and where Redis is lost, what is due is found by a walk through the bucket. */
const dueAfterMs = 6_000;
const patienceMs = 120_000;

export interface Leftovers {
  /** This batch ended as that. */
  ended(id: string, status: string): void;
  /** Looks at those that are due, or, waiting for them, at all. What broke, by batch. */
  look(all: boolean): Promise<Map<string, Broken[]>>;
}

export function openLeftovers(stage: Stage): Leftovers {
  const ended = new Map<string, { readonly status: string; readonly atMs: number }>();
  return {
    ended: (id, status) => void ended.set(id, { status, atMs: performance.now() }),
    look: async (all) => {
      const broken = new Map<string, Broken[]>();
      for (const [id, { status, atMs }] of ended) {
        const ageMs = () => performance.now() - atMs;
        if (all && ageMs() < dueAfterMs) await sleep(dueAfterMs - ageMs());
        if (!all && ageMs() < dueAfterMs) continue;
        let found = await surplus(stage, id);
        if (!all && found.length > 0 && ageMs() < patienceMs) continue;
        while (found.length > 0 && ageMs() < patienceMs) {
          await sleep(250);
          found = await surplus(stage, id);
        }
        // A round beside this look may have emptied Redis just now.
        const now = (await insist(AbortSignal.timeout(patienceMs), () => stage.client.batches.get(id))).status;
        broken.set(id, [
          ...(found.length === 0
            ? []
            : [{ law: "wrong", what: `left behind: ${found.slice(0, 5).join(", ")} (${found.length})` } as const]),
          ...(now === status ? [] : [{ law: "wrong", what: `ended as ${status}, and is ${now} now` } as const]),
        ]);
        await takeAway(stage, id);
        ended.delete(id);
      }
      return broken;
    },
  };
}

/** The batch's objects that no document names. */
async function surplus({ storage }: Stage, id: string): Promise<string[]> {
  const signal = AbortSignal.timeout(30_000);
  const { folderPrefix, end: endKey } = batchKeys(id);
  const end = await readJson(storage, { bucket: serviceBucket, key: endKey }, endSchema, signal);
  const keys: string[] = [];
  for await (const { key } of storage.list({ bucket: serviceBucket, key: folderPrefix }, { signal }))
    keys.push(key.slice(folderPrefix.length));
  const seal = end?.seal ?? "";
  const sealKey = keys.find((key) => key.startsWith("seals/") && key.endsWith(`-${seal}.json`)) ?? "";
  const sealed = await readJson(storage, { bucket: serviceBucket, key: folderPrefix + sealKey }, sealSchema, signal);
  return keys.filter((key) => {
    if (["batch.json", "end.json", "after.json"].includes(key) || key.startsWith("control/")) return false;
    if (key.startsWith(`final/${seal}/`) || key === sealKey) return false;
    // The seal's alone, and none where it ended without one.
    return sealed?.plan == null || !key.startsWith(`plan/${sealed.plan}/`);
  });
}

async function takeAway({ storage }: Stage, id: string): Promise<void> {
  const signal = AbortSignal.timeout(30_000);
  const keys: string[] = [];
  for await (const { key } of storage.list({ bucket: serviceBucket, key: batchKeys(id).folderPrefix }, { signal })) keys.push(key);
  await storage.remove(
    keys.map((key) => ({ bucket: serviceBucket, key })),
    { signal },
  );
}
