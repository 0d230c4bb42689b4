/**
 * lookAtBatchJob(key): whether the batch's plan or finalize job stands: waiting, running, or between two tries. `key`: BullMQ's hash of it. Called by reconcile. → stands | none
 *   A hash without a name is no job: a rebuild took the job while its id was in one of BullMQ's lists, and BullMQ, who took up the id, wrote its times there. It goes,
 *   for it would keep the job from being added.
 */
import { writing } from "./prelude.ts";

export const lookAtBatchJob = writing(
  "lookAtBatchJob",
  `
if redis.call('HEXISTS', ARGV[1], 'name') == 1 then return '{"kind":"stands"}' end
redis.call('DEL', ARGV[1])
return '{"kind":"none"}'
`,
);
