/**
 * Epochs: numbers that grow for ever, each taken by one process, whatever becomes of Redis. Owns how one is taken in S3, where all of them stand (also where no
 * batch is open): write a claim, then look; only a claim that is alone and the highest counts. Needs no clock and no conditional write, just that a listing shows
 * what was written before it. The caller's lease must be looked at afterwards: then whoever takes the lease later takes a higher epoch.
 */
import { CodedError } from "@flamboyance/contracts";
import { newUlid } from "@flamboyance/queue";
import { epochKey, epochsPrefix, numberInName, type Storage } from "@flamboyance/storage";

const tries = 5;

/** Throws `service_unavailable` where others are always faster. */
export async function takeEpoch(storage: Storage, bucket: string, signal: AbortSignal): Promise<number> {
  for (let tried = 0; tried < tries; tried += 1) {
    const before = await claims(storage, bucket, signal);
    const epoch = Math.max(Math.floor(Date.now() / 1_000), ...before.map(({ number }) => number + 1));
    const key = epochKey(epoch, newUlid());
    await storage.write({ bucket, key }, "", { contentType: "text/plain", signal });
    const after = await claims(storage, bucket, signal);
    if (after.some((claim) => claim.key !== key && claim.number >= epoch)) continue;
    const lower = after.filter(({ number }) => number < epoch).map((claim) => ({ bucket, key: claim.key }));
    await storage.remove(lower, { signal });
    return epoch;
  }
  throw new CodedError("service_unavailable", "Others took every epoch.");
}

async function claims(storage: Storage, bucket: string, signal: AbortSignal): Promise<{ key: string; number: number }[]> {
  const found: { key: string; number: number }[] = [];
  for await (const { key } of storage.list({ bucket, key: epochsPrefix }, { signal })) {
    const number = numberInName(key);
    if (number !== null) found.push({ key, number });
  }
  return found;
}
