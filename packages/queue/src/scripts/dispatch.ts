/**
 * dispatch(model, waitKey): hands out the next chunks of the model's batches in progress until 2 × live slots + 2 are ready: the tenant whose turn it is gives
 *   one of its first batch (by priority, then age), and is moved on (turns.ts, whose invariant this relies on).
 *   Called by workers after an adoption, a record and in reconcile, by the api after a resume; the caller adds the jobs, and orders them where one overtakes
 *   what waits already (order.ts). → { chunks: [{ id, chunk, dispatch }], overtakes }
 *   Ready is what was handed out and not claimed, or what BullMQ's wait list (waitKey) holds where that is more (jobs of sealed batches). A chunk whose job
 *   waits for its next try counts as ready too: where many fail, fewer new ones are handed out.
 *   A caller that dies before it adds the jobs leaves chunks handed out without a job: repairChunks hands them out again.
 *   A batch that has nothing to hand out any more leaves its tenant's queue here, and the tenant gives the turn to its next one. So each step hands a chunk
 *   out or takes something out that was put in once: batches that wait are never walked over.
 *   The dispatch number counts a batch's hand-outs, so it grows for each chunk too.
 */
import { writing } from "./prelude.ts";

export const dispatch = writing(
  "dispatch",
  `
local model, wait_key = ARGV[1], ARGV[2]
local slots = 0
local serving = redis.call('HGETALL', key_serving(model))
for index = 1, #serving, 2 do
  local expires_ms, worker_slots = string.match(serving[index + 1], '^(%d+) (%d+)')
  if tonumber(expires_ms) > now_ms then slots = slots + tonumber(worker_slots) end
end
local target = 2 * slots + 2
local ready = math.max(redis.call('ZCARD', key_ready(model)), redis.call('LLEN', wait_key))

-- The batch's next chunk: one that was taken back, else one never handed out.
local function next_chunk(id, record)
  local back = redis.call('ZPOPMIN', key_back(id))
  while back[1] do
    local chunk = tonumber(back[1])
    if part_of(id, chunk) == 0 and not out_of(id, chunk) then return chunk end
    back = redis.call('ZPOPMIN', key_back(id))
  end
  local chunk = first_without_part(id, number_of(record.next))
  if chunk >= number_of(record.chunks) then
    redis.call('HSET', key_batch(id), 'next', record.chunks)
    return nil
  end
  redis.call('HSET', key_batch(id), 'next', chunk + 1)
  return chunk
end

local handed_out, overtakes = {}, false
local latest = number_of(redis.call('ZRANGE', key_ready(model), 0, 0, 'REV', 'WITHSCORES')[2])
local function hand_out(id, chunk, at)
  local number = redis.call('HINCRBY', key_batch(id), 'dispatches', 1)
  put_out(id, chunk, { dispatch = number, at = now_ms })
  redis.call('ZADD', key_ready(model), at, id .. '-' .. chunk)
  handed_out[#handed_out + 1] = { id = id, chunk = chunk, dispatch = number }
  overtakes = overtakes or at < latest
  ready = ready + 1
end

while ready < target do
  local tenant, at, id = whose_turn(model)
  if not tenant then break end
  local record = record_of(id, 'next', 'chunks', 'items', 'weight')
  local chunk = nil
  if record.status == 'in_progress' then chunk = next_chunk(id, record) end
  if chunk then
    hand_out(id, chunk, at)
    redis.call('ZINCRBY', key_turns(model), cost_of(record), tenant)
  else
    redis.call('ZREM', queue_key(model, tenant), id)
  end
end
redis.call('ZREMRANGEBYSCORE', key_rested(model), '-inf', clock_of(model))
if #handed_out == 0 then return '{"kind":"dispatched","chunks":[],"overtakes":false}' end
return answer({ kind = 'dispatched', chunks = handed_out, overtakes = overtakes })
`,
);
