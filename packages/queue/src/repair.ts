/**
 * Mends what Redis alone can mend of one batch (the rows of the repair table that need no look into S3): lost jobs, chunks without a job,
 * missed seals, passed deadlines. Decides nothing: each mending is a script with its own ground, so any number of processes may repair at once.
 */
import { isEnded } from "@flamboyance/contracts";
import { batchJobAnswer, repairAnswer } from "./answers.ts";
import type { Jobs } from "./jobs.ts";
import type { Queue, Repair } from "./queue.ts";
import { addPlanJob } from "./plan-job.ts";
import type { BatchRecord } from "./record.ts";
import type { RunScript } from "./script.ts";
import { lookAtBatchJob } from "./scripts/batch-job.ts";
import { repairChunks } from "./scripts/repair-chunks.ts";
import { newUlid } from "./ulid.ts";

interface Dependencies extends Pick<Queue, "batch" | "expire" | "seal"> {
  readonly run: RunScript;
  readonly jobs: Jobs;
  readonly graceMs: number;
}

export function repairOf({ run, jobs, graceMs, batch, expire, seal }: Dependencies): Queue["repair"] {
  const sealAs = async (id: string, outcome: "completed" | "cancelled" | "expired"): Promise<Repair[]> => {
    const answer = await seal({ id, seal: newUlid(), outcome });
    return answer.kind === "sealed" ? [{ kind: "sealed", outcome: answer.outcome }] : [];
  };

  const expireIfDue = async (id: string): Promise<Repair[]> => {
    const answer = await expire(id);
    return answer.kind === "expiring" ? [{ kind: "expiring" }, ...(await sealAs(id, "expired"))] : [];
  };

  const batchJob = async (kind: "plan" | "finalize", id: string): Promise<Repair[]> => {
    if ((await run(lookAtBatchJob, [jobs.batchJobKey(kind, id)], batchJobAnswer)).kind === "stands") return [];
    await (kind === "plan" ? addPlanJob({ run, jobs }, id) : jobs.addBatchJob(kind, id));
    return [{ kind: `${kind}_job` }];
  };

  const chunks = async ({ id, model }: BatchRecord): Promise<Repair[]> => {
    const { again, back, entered } = await run(repairChunks, [id, graceMs, jobs.jobPrefix(model.key)], repairAnswer);
    await jobs.addChunks(model.key, again);
    const repairs: Repair[] = [];
    if (again.length > 0) repairs.push({ kind: "chunks_again", chunks: again.map(({ chunk }) => chunk) });
    if (back.length > 0) repairs.push({ kind: "chunks_taken_back", chunks: back });
    if (entered) repairs.push({ kind: "turn" });
    return repairs;
  };

  return async (id) => {
    const record = await batch(id);
    if (record === null || record.settled) return [];
    const { status } = record;
    if (status === "validating") {
      const expired = await expireIfDue(id);
      return expired.length > 0 ? expired : batchJob("plan", id);
    }
    if (status === "in_progress" || status === "paused") {
      if (record.recorded === record.chunks) return sealAs(id, "completed");
      const expired = await expireIfDue(id);
      return expired.length > 0 ? expired : chunks(record);
    }
    if (status === "cancelling") return sealAs(id, "cancelled");
    if (status === "expiring") return sealAs(id, "expired");
    return status === "finalizing" || isEnded(status) ? batchJob("finalize", id) : [];
  };
}
