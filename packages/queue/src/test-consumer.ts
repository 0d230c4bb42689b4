/** For this package's tests: a consumer in a process of its own, to be killed or stopped. It claims its chunk, says so, and holds it until its lock is lost. */
import { once } from "node:events";
import { JobAborted } from "./consume.ts";
import { openQueue } from "./open.ts";
import { tallyOf } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

const [, , url = "", model = ""] = process.argv;
const queue = await openQueue({ url, lockMs: 400, stalledIntervalMs: 200 });

queue.consume({ kind: "chunk", model, concurrency: 1 }, async ({ id, chunk, dispatch }, signal) => {
  const attempt = newUlid();
  const claim = await queue.claim({ id, chunk, attempt, dispatch, worker: "child" });
  process.send?.("claimed");
  if (!signal.aborted) await once(signal, "abort");
  const plan = claim.kind === "run" ? claim.plan : newUlid();
  const late = await queue.record({ id, chunk, plan, attempt, cut: false, tally: tallyOf(1) });
  process.send?.({ late, why: signal.reason instanceof JobAborted ? signal.reason.why : null });
  return "done";
});
