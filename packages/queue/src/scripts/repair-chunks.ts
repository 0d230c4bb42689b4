/**
 * repairChunks(id, graceMs, jobPrefix): chunks that are handed out longer than one grace, have no part and no job alive (BullMQ's hash jobPrefix .. ID-CHUNK-DISPATCH, with a name: batch-job.ts).
 *   In progress they are handed out again under the next number, and the caller adds the jobs; paused they are taken back. A batch in progress that has chunks to
 *   hand out and to which no turn comes any more is entered again (turns.ts). Called by reconcile.
 *   → { again: [{ id, chunk, dispatch }], back: [chunk], entered }. A claimed chunk counts from its claim.
 */
import { writing } from "./prelude.ts";

export const repairChunks = writing(
  "repairChunks",
  `
local id, grace_ms, job_prefix = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local record = record_of(id, 'model', 'next', 'chunks')
local again, back = {}, {}
if record.status == 'in_progress' or record.status == 'paused' then
  for index, field in ipairs(redis.call('HKEYS', key_out(id))) do
    local chunk = tonumber(field)
    local entry = out_of(id, chunk)
    local since_ms = math.max(entry.at, entry.claimed)
    local job = job_prefix .. id .. '-' .. field .. '-' .. string.format('%d', entry.dispatch)
    if now_ms - since_ms >= grace_ms and redis.call('HEXISTS', job, 'name') == 0 then
      if record.status == 'in_progress' then
        local number = redis.call('HINCRBY', key_batch(id), 'dispatches', 1)
        put_out(id, chunk, { dispatch = number, at = now_ms })
        redis.call('ZADD', key_ready(record.model), 0, id .. '-' .. field)
        again[#again + 1] = { id = id, chunk = chunk, dispatch = number }
      else
        redis.call('HDEL', key_out(id), chunk)
        redis.call('ZADD', key_back(id), chunk, chunk)
        take_from_ready(record.model, id, field)
        back[#back + 1] = chunk
      end
    end
  end
end
local waits = number_of(record.next) < number_of(record.chunks) or redis.call('EXISTS', key_back(id)) == 1
local entered = record.status == 'in_progress' and waits and enter_turns(id)
return '{"kind":"repaired","again":' .. (#again > 0 and cjson.encode(again) or '[]') .. ',"back":' .. (#back > 0 and cjson.encode(back) or '[]')
  .. ',"entered":' .. tostring(entered) .. '}'
`,
);
