/** How a batch ends: deadline, seal, fence, end, and what follows. Every seal adds its finalize job; a crash in between is reconcile's. */
import { limits } from "@flamboyance/contracts";
import {
  endAnswer,
  expireAnswer,
  fenceAnswer,
  forgetDeletedAnswer,
  sealAnswer,
  startDeleteAnswer,
  sweepableAnswer,
  sweptAnswer,
} from "./answers.ts";
import type { Jobs } from "./jobs.ts";
import type { Queue, SealAnswer } from "./queue.ts";
import { endFields, flat } from "./record.ts";
import type { RunScript } from "./script.ts";
import { forgetDeleted, keptTooLong, startDelete } from "./scripts/delete.ts";
import { end, settle } from "./scripts/end.ts";
import { expire, fence, seal } from "./scripts/seal.ts";
import { sweepable, swept } from "./scripts/sweep.ts";
import { newUlid, packUlid } from "./ulid.ts";

type EndingPart = Pick<
  Queue,
  | "refusePlan"
  | "expire"
  | "seal"
  | "sealed"
  | "end"
  | "copyEnd"
  | "settle"
  | "sweepable"
  | "swept"
  | "startDelete"
  | "forgetDeleted"
  | "keptTooLong"
>;
type EndOf = Parameters<Queue["end"]>[0];

export function endingOf({ run, jobs, quietMs }: { run: RunScript; jobs: Jobs; quietMs: number }): EndingPart {
  const sealAs = async (id: string, token: string, outcome: string, errors: string): Promise<SealAnswer> => {
    packUlid(token);
    const answer = await run(seal, [id, token, outcome, quietMs, errors], sealAnswer);
    if (answer.kind === "sealed") await jobs.addBatchJob("finalize", id);
    return answer;
  };

  const endAs = ({ id, end: ended }: EndOf, copy: 0 | 1) => {
    const asked = [id, ended.seal, ended.status, copy, ended.counts.total, ended.stored_bytes ?? 0];
    return run(end, [...asked, ...flat(endFields(ended))], endAnswer);
  };

  return {
    refusePlan: ({ id, errors }) => sealAs(id, newUlid(), "failed", JSON.stringify(errors.slice(0, limits.errorsShown))),
    expire: (id) => run(expire, [id], expireAnswer),
    seal: ({ id, seal: token, outcome }) => sealAs(id, token, outcome, ""),
    sealed: ({ id, seal: token }) => run(fence, [id, token], fenceAnswer),
    end: (ended) => endAs(ended, 0),
    copyEnd: (ended) => endAs(ended, 1),
    settle: ({ id, after }) => run(settle, [id, JSON.stringify(after.delivery)], endAnswer),
    sweepable: ({ ageMs, limit }) => run(sweepable, [ageMs, limit], sweepableAnswer),
    startDelete: ({ id, newest = id, next = "" }) => run(startDelete, [id, newest, next], startDeleteAnswer),
    forgetDeleted: async ({ id, tenant, next = "" }) => {
      await run(forgetDeleted, [id, tenant, next], forgetDeletedAnswer);
    },
    keptTooLong: ({ beforeSeconds, limit }) => run(keptTooLong, [beforeSeconds, limit], sweepableAnswer),
    swept: async ({ id, again }) => {
      await run(swept, [id, again ? 1 : 0], sweptAnswer);
    },
  };
}
