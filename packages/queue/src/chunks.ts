/** Plans and chunks: adopting, handing out, claiming, recording, and what is known of running chunks. The laws stand in the scripts. */
import { isEnded } from "@flamboyance/contracts";
import type { Redis } from "ioredis";
import {
  adoptAnswer,
  claimAnswer,
  claimPlanAnswer,
  dispatchAnswer,
  noteAnswer,
  orderAnswer,
  recordAnswer,
  releaseAnswer,
} from "./answers.ts";
import type { Jobs } from "./jobs.ts";
import { keyOf } from "./layout.ts";
import type { Queue, StopReason } from "./queue.ts";
import { notBelieved, type RunScript } from "./script.ts";
import { adoptPlan } from "./scripts/adopt-plan.ts";
import { claim, note, release } from "./scripts/claim.ts";
import * as planning from "./scripts/claim-plan.ts";
import { dispatch } from "./scripts/dispatch.ts";
import { order } from "./scripts/order.ts";
import { record } from "./scripts/record.ts";
import { readBelieved } from "./sentinel.ts";
import { newUlid, packUlid } from "./ulid.ts";

type ChunksPart = Pick<
  Queue,
  | "claimPlan"
  | "notePlan"
  | "releasePlan"
  | "claimFinalize"
  | "adoptPlan"
  | "dispatch"
  | "claim"
  | "note"
  | "release"
  | "record"
  | "stopping"
>;

interface Dependencies extends Pick<Queue, "batch"> {
  readonly redis: Redis;
  readonly prefix: string;
  readonly run: RunScript;
  readonly jobs: Jobs;
}

export function chunksOf({ redis, prefix, run, jobs, batch }: Dependencies): ChunksPart {
  return {
    claimPlan: ({ id, attempt, worker }) => run(planning.claimPlan, [id, attempt, worker], claimPlanAnswer),

    async notePlan({ id, attempt, what }) {
      return (await run(planning.notePlan, [id, attempt, what ?? "-"], noteAnswer)).kind === "noted";
    },

    async releasePlan({ id, attempt }) {
      await run(planning.releasePlan, [id, attempt], releaseAnswer);
    },

    async claimFinalize(id) {
      const found = await batch(id);
      if (found === null) return { kind: "gone" };
      if (found.status === "finalizing") return { kind: "run", record: found };
      return isEnded(found.status) && !found.settled ? { kind: "settle", record: found } : { kind: "stopped", status: found.status };
    },

    async adoptPlan({ id, plan, items, chunks, refused, storedBytes = 0, quotas: { items_queued = "", stored_bytes = "" } = {} }) {
      packUlid(plan);
      const given = [id, plan, items, chunks, refused, newUlid(), storedBytes, items_queued, stored_bytes];
      const answer = await run(adoptPlan, given, adoptAnswer);
      if (answer.kind === "adopted" && answer.sealed) await jobs.addBatchJob("finalize", id);
      return answer;
    },

    async dispatch(model) {
      const { chunks, overtakes } = await run(dispatch, [model, jobs.waitKey(model)], dispatchAnswer);
      await jobs.addChunks(model, chunks);
      if (overtakes) await run(order, [model, jobs.waitKey(model)], orderAnswer);
      return chunks.length;
    },

    async claim(asked) {
      packUlid(asked.attempt);
      return run(claim, [asked.id, asked.chunk, asked.attempt, asked.dispatch, asked.worker], claimAnswer);
    },

    async note({ id, chunk, attempt, item }) {
      return (await run(note, [id, chunk, attempt, item ?? "-"], noteAnswer)).kind === "noted";
    },

    async release({ id, chunk, attempt }) {
      await run(release, [id, chunk, attempt], releaseAnswer);
    },

    async record({ id, chunk, plan, attempt, cut, tally }) {
      const { completed, failed, input_tokens, cached_tokens, output_tokens, stored_bytes } = tally;
      const counts = [completed, failed, input_tokens, cached_tokens, output_tokens, stored_bytes];
      return run(record, [id, chunk, plan, packUlid(attempt), cut ? 1 : 0, ...counts], recordAnswer);
    },

    async stopping(ids) {
      const reading = redis.pipeline();
      for (const id of ids) reading.hget(keyOf(prefix, "batch", id), "status");
      const { found: statuses, belief } = await readBelieved(reading, prefix);
      // Where Redis was lost, work goes on: its parts are found by the rebuild.
      if (belief === null) throw notBelieved();
      const reasons = ids.map((id, index): [string, StopReason | null] => [id, stopReason(statuses[index])]);
      return new Map(reasons.filter((entry): entry is [string, StopReason] => entry[1] !== null));
    },
  };
}

function stopReason(status: unknown): StopReason | null {
  switch (status) {
    case "validating":
    case "in_progress":
    case "paused":
      return null;
    case "cancelling":
    case "expiring":
      return status;
    case "finalizing":
    case "completed":
    case "failed":
    case "expired":
    case "cancelled":
      return "sealed";
    default:
      return "gone";
  }
}
