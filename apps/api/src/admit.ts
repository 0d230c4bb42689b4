/** A tenant's quotas at submit: whether there is room for one batch more. Owns the refusal's words. */
import { CodedError } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import type { Caller } from "./caller.ts";

/** Throws `quota_exceeded`. Safe to repeat: the same id is counted once. */
export async function admit(queue: Queue, { tenant, quotas }: Pick<Caller, "tenant" | "quotas">, id: string): Promise<void> {
  // Most tenants have none, and nothing is counted for them.
  if (Object.values(quotas).every((most) => most === undefined)) return;
  const answer = await queue.admit({ tenant, id, quotas });
  if (answer.kind === "admitted") return;
  const { quota, have, most } = answer;
  const [what, how] = {
    running_batches: [`You have ${have} batches that haven't ended`, "Wait until one has, or cancel one"],
    items_queued: [`You have ${have} items that wait or run`, "Wait until some have run, or cancel a batch"],
    stored_bytes: [`Your batches keep ${have} bytes`, "Delete batches that you don't need any more"],
  }[quota];
  throw new CodedError("quota_exceeded", `${what}, and ${most} is the most that you may have (${quota}). ${how}.`);
}
