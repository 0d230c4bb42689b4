/**
 * adoptPlan(id, plan, items, chunks, refused, seal, bytes, itemsQueued or '', storedBytes or ''): validating → in_progress, or straight to finalizing where there are no chunks.
 *   Called by the planner after plan.json stands. → adopted(sealed) | lost(status) | over(quota, have, most) | gone
 *   over: with these items the tenant would have more queued than it may, or with these bytes more stored; the planner refuses the plan.
 *   Where more lines were refused than the batch bears it is paused at once (failures.ts).
 *   Refused lines count as failed from here on, so that total = items + refused = completed + failed at the end.
 */
import { writing } from "./prelude.ts";

export const adoptPlan = writing(
  "adoptPlan",
  `
local id, plan, items, chunks, refused, seal, bytes, most_items, most_bytes = unpack(ARGV)
local record = record_of(id, 'plan', 'model', 'chunks', 'tenant')
if not record.status then return gone end
if record.plan == plan then return answer({ kind = 'adopted', sealed = number_of(record.chunks) == 0 }) end
if record.status ~= 'validating' then return answer({ kind = 'lost', status = record.status }) end
if most_items ~= '' or most_bytes ~= '' then
  local _, queued, stored = busy_of(record.tenant, id)
  stored = stored + stored_of(record.tenant)
  for index, each in ipairs({ { 'items_queued', queued, items, most_items }, { 'stored_bytes', stored, bytes, most_bytes } }) do
    local quota, have, more, most = unpack(each)
    if most ~= '' and have + tonumber(more) > tonumber(most) then
      return answer({ kind = 'over', quota = quota, have = have, most = tonumber(most) })
    end
  end
end
redis.call('HSET', key_batch(id), 'status', 'in_progress', 'plan', plan, 'items', items, 'chunks', chunks, 'refused', refused,
  'failed', refused, 'stored_bytes', bytes, 'in_progress_at', now)
redis.call('DEL', key_planning(id))
if tonumber(chunks) == 0 then
  close_batch(id, record.model, seal, 'completed')
else
  enter_turns(id)
  pause_if_doomed(id)
end
return answer({ kind = 'adopted', sealed = tonumber(chunks) == 0 })
`,
);
