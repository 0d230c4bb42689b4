/**
 * takeNumber(id): the next number of the batch's control log. Called by the api before it writes control/<number>-<ulid>.json.
 *   → taken(number) | conflict(status) | gone. A number taken and never applied leaves a gap, which nobody waits for.
 * applyCancel(id, number): validating, in_progress, paused, expiring → cancelling. Called by the api after the control object stands.
 *   → cancelling(status) | conflict(status) | gone. A cancelled batch stays so whatever number comes later, so cancels need no order among
 *   themselves; the control steps that pause and resume refuse a number below the last applied one (`applied`), which is kept here for them.
 */
import { writing } from "./prelude.ts";

export const takeNumber = writing(
  "takeNumber",
  `
local id = ARGV[1]
local record = record_of(id, 'outcome')
if not record.status then return gone end
if is_ended(record.status) or (record.status == 'finalizing' and record.outcome ~= 'cancelled') then
  return answer({ kind = 'conflict', status = record.status })
end
return answer({ kind = 'taken', number = redis.call('HINCRBY', key_batch(id), 'number', 1) })
`,
);

export const applyCancel = writing(
  "applyCancel",
  `
local id, number = ARGV[1], tonumber(ARGV[2])
local record = record_of(id, 'outcome', 'cancel_number', 'applied')
if not record.status then return gone end
local mine = tonumber(record.cancel_number or -1) == number
if is_sealed(record.status) then
  local answered = mine or (record.status == 'finalizing' and record.outcome == 'cancelled')
  return answer({ kind = answered and 'cancelling' or 'conflict', status = record.status })
end
if record.status ~= 'cancelling' then
  redis.call('HSET', key_batch(id), 'status', 'cancelling', 'cancelling_at', now, 'quiet_from_ms', now_ms, 'cancel_number', number,
    'applied', math.max(number, number_of(record.applied)))
end
return answer({ kind = 'cancelling', status = 'cancelling' })
`,
);
