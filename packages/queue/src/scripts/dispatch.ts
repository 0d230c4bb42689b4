/**
 * dispatch(model, waitKey): hands out the next chunks of the model's batches in progress, oldest batch first, until 2 × live slots + 2 are ready.
 *   Called by workers after an adoption, a record and in reconcile, by the api after a resume; the caller adds the jobs. → { chunks: [{ id, chunk, dispatch }] }
 *   Ready is what was handed out and not claimed, or what BullMQ's wait list (waitKey) holds where that is more (jobs of sealed batches). A chunk whose job
 *   waits for its next try counts as ready too: where many fail, fewer new ones are handed out.
 *   A caller that dies before it adds the jobs leaves chunks handed out without a job: repairChunks hands them out again.
 *   A batch that has nothing to hand out any more (all out, paused, stopped) leaves `running` here, when its turn comes.
 *   The dispatch number counts a batch's hand-outs, so it grows for each chunk too.
 *   There are no fair shares among tenants and no priorities yet: the oldest batch takes all until it has nothing left to hand out.
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
  local chunk = number_of(record.next)
  if chunk >= number_of(record.chunks) then return nil end
  redis.call('HSET', key_batch(id), 'next', chunk + 1)
  return chunk
end

local handed_out = {}
while ready < target do
  local id = redis.call('ZRANGE', key_running(model), 0, 0)[1]
  if not id then break end
  local record = record_of(id, 'next', 'chunks')
  local chunk = nil
  if record.status == 'in_progress' then chunk = next_chunk(id, record) end
  if chunk then
    local number = redis.call('HINCRBY', key_batch(id), 'dispatches', 1)
    put_out(id, chunk, { dispatch = number, at = now_ms })
    redis.call('ZADD', key_ready(model), now_ms, id .. '-' .. chunk)
    handed_out[#handed_out + 1] = { id = id, chunk = chunk, dispatch = number }
    ready = ready + 1
  else
    redis.call('ZREM', key_running(model), id)
  end
end
if #handed_out == 0 then return '{"kind":"dispatched","chunks":[]}' end
return answer({ kind = 'dispatched', chunks = handed_out })
`,
);
