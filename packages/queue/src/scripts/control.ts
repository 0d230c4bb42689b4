/**
 * The controls of a batch that runs: cancel, pause, resume, priority, deadline. Each is three steps of the api: a number, the object control/<number>-<ulid>.json, the script.
 * takeNumber(id, kind): the next number of the batch's control log, where its status allows the control. Called by the api before it writes the object.
 *   → taken(number) | conflict(status) | gone. A number taken and never applied leaves a gap, which nobody waits for.
 * applyCancel(id, number): validating, in_progress, paused, expiring → cancelling. Called by the api after the control object stands.
 *   → cancelling(status) | conflict(status) | gone. A cancelled batch stays so whatever number comes later, so cancels need no order among themselves.
 * applyPause(id, number): in_progress → paused. applyResume(id, number, lifts 0|1): paused → in_progress, and its turn comes again; the caller dispatches. `lifts`: max_failed
 *   holds no more (failures.ts).
 *   Called by the api after the control object stands. → applied(status) | superseded(status) | conflict(status) | gone
 *   In number order: where a later control was applied before (`applied`), this one changes nothing, and the log read in number order ends the same. So what is
 *   so already takes a number and counts as applied too: the resume of a running batch holds off a pause that is still on its way.
 * applyPriority(id, number, priority): the batch's place among its tenant's from now on; what is handed out already stays so. Called by the api after the
 *   control object stands. → as those two. The priority of the highest number holds, whatever else was applied in between.
 * applyDeadline(id, number, completionWindow, expiresAt): the deadline, as priority. One that has passed is the caller's to refuse: here it would expire the batch.
 * Of all but cancel: whoever's number was the last of its kind to be applied is answered the same again, whatever became of the batch since.
 */
import type { Control, RecordStatus } from "@flamboyance/contracts";
import { writing } from "./prelude.ts";

/** In which statuses each control is legal: the one table, for the scripts and for a replay of the log. Beside these, a cancel is answered for while the batch that it stopped is finalizing. */
export const legalStatuses: Readonly<Record<Control["kind"], readonly RecordStatus[]>> = {
  cancel: ["validating", "in_progress", "paused", "expiring", "cancelling"],
  pause: ["in_progress", "paused"],
  resume: ["in_progress", "paused"],
  priority: ["validating", "in_progress", "paused"],
  deadline: ["validating", "in_progress", "paused"],
};

const legalInLua = `
local legal = {
${Object.entries(legalStatuses)
  .map(([kind, statuses]) => `  ${kind} = { ${statuses.map((status) => `${status} = true`).join(", ")} },`)
  .join("\n")}
}
local function is_legal(kind, record)
  if kind == 'cancel' and record.status == 'finalizing' then return record.outcome == 'cancelled' end
  return legal[kind][record.status] == true
end
`;

export const takeNumber = writing(
  "takeNumber",
  `${legalInLua}
local id, kind = ARGV[1], ARGV[2]
local record = record_of(id, 'outcome')
if not record.status then return gone end
if not is_legal(kind, record) then return answer({ kind = 'conflict', status = record.status }) end
return answer({ kind = 'taken', number = redis.call('HINCRBY', key_batch(id), 'number', 1) })
`,
);

export const applyCancel = writing(
  "applyCancel",
  `${legalInLua}
local id, number = ARGV[1], tonumber(ARGV[2])
local record = record_of(id, 'outcome', 'cancel_number', 'applied')
if not record.status then return gone end
local mine = number_of(record.cancel_number) == number
if is_sealed(record.status) then
  return answer({ kind = (mine or is_legal('cancel', record)) and 'cancelling' or 'conflict', status = record.status })
end
if record.status ~= 'cancelling' then
  redis.call('HSET', key_batch(id), 'status', 'cancelling', 'cancelling_at', now, 'quiet_from_ms', now_ms, 'cancel_number', number,
    'applied', math.max(number, number_of(record.applied)))
  leave_turns(id)
end
return answer({ kind = 'cancelling', status = 'cancelling' })
`,
);

/** The steps that pause and resume share: the same answer again, the status, the order. Leaves with the batch in the control's status. */
const inOrder = (kind: "pause" | "resume", status: RecordStatus): string => `${legalInLua}
local id, number = ARGV[1], tonumber(ARGV[2])
local record = record_of(id, '${kind}_number', 'applied')
if not record.status then return gone end
if number_of(record.${kind}_number) == number then return answer({ kind = 'applied', status = record.status }) end
if not is_legal('${kind}', record) then return answer({ kind = 'conflict', status = record.status }) end
if number < number_of(record.applied) then return answer({ kind = 'superseded', status = record.status }) end
redis.call('HSET', key_batch(id), 'status', '${status}', '${kind}_number', number, 'applied', number)
`;

export const applyPause = writing(
  "applyPause",
  `${inOrder("pause", "paused")}
leave_turns(id)
return '{"kind":"applied","status":"paused"}'
`,
);

export const applyResume = writing(
  "applyResume",
  `${inOrder("resume", "in_progress")}
redis.call('HDEL', key_batch(id), 'paused_reason')
if ARGV[3] == '1' then redis.call('HSET', key_batch(id), 'max_failed_lifted', 1) end
enter_turns(id)
return '{"kind":"applied","status":"in_progress"}'
`,
);

/** The steps that priority and deadline share: the same answer again, the status, the highest number. Leaves with the number taken. */
const highestHolds = (kind: "priority" | "deadline"): string => `${legalInLua}
local id, number = ARGV[1], tonumber(ARGV[2])
local record = record_of(id, 'model', 'tenant', 'created_at', '${kind}_number')
if not record.status then return gone end
if number_of(record.${kind}_number) == number then return answer({ kind = 'applied', status = record.status }) end
if not is_legal('${kind}', record) then return answer({ kind = 'conflict', status = record.status }) end
if number < number_of(record.${kind}_number) then return answer({ kind = 'superseded', status = record.status }) end
redis.call('HSET', key_batch(id), '${kind}_number', number)
`;

export const applyPriority = writing(
  "applyPriority",
  `${highestHolds("priority")}
redis.call('HSET', key_batch(id), 'priority', ARGV[3])
redis.call('ZADD', queue_key(record.model, record.tenant), 'XX', rank_of(ARGV[3], record.created_at), id)
return answer({ kind = 'applied', status = record.status })
`,
);

export const applyDeadline = writing(
  "applyDeadline",
  `${highestHolds("deadline")}
redis.call('HSET', key_batch(id), 'completion_window', ARGV[3], 'expires_at', ARGV[4])
return answer({ kind = 'applied', status = record.status })
`,
);
