/**
 * Whose turn it is: start-time fair queueing over the tenants of a model. All scripts keep its structures by the functions below.
 *   running:MODEL:TENANT  the tenant's batches in progress, the next one first: by priority, the highest first, then by age
 *   turns:MODEL           tenant → the virtual time of its next turn; the lowest one's turn it is
 *   clock:MODEL           the virtual time itself: that of the latest turn whose chunk was claimed; no tenant's is behind it
 *   rested:MODEL          as turns, of tenants that have no batch there any more, as long as their time is still to come
 *   ready:MODEL           has the time of each chunk's turn; 0 for a chunk that has had it and comes again (released, repaired). Times begin at 1.
 * A chunk that is handed out moves its tenant on by the chunk's items (the batch's mean) over the batch's weight, so that tenants who have chunks to hand out
 * get items by their weights, each within one chunk of its own. Items and not chunks: those of a large batch have up to 32 times as many as a small one's.
 *
 * Invariant: a batch in progress that has a chunk to hand out (one in `back`, or `next` below `chunks`) stands in running:MODEL:TENANT, and whose tenant
 * has a batch there stands in turns:MODEL. Others may stand there still: dispatch takes out a batch that has none when it meets it, whose_turn a tenant without
 * batches. enter_turns is called where a batch comes to be in progress (adoptPlan, applyResume), leave_turns where it stops being so (applyPause, applyCancel,
 * expire, the seal and the end). repairChunks enters a batch that fell out all the same.
 *
 * Chunks that come back unclaimed (claim of a paused or stopped batch, the seal) give their turns back.
 * A tenant comes in at the clock: no credit for having been away, and before the chunks that wait already (order.ts). One that leaves and comes back before the
 * clock has passed its time finds it again in `rested`: whoever has one small batch after another gains nothing, and owes what its last turn took at most.
 * If all of this is lost, the tenants begin again side by side. Times grow by items, which a double counts exactly beyond any service's life.
 */
export const turnsInLua = `
local function queue_key(model, tenant) return key_running(model .. ':' .. tenant) end

-- The batch's place in its tenant's queue: a priority outweighs any difference in age (Unix seconds).
local function rank_of(priority, created_at) return number_of(created_at) - number_of(priority) * 1e11 end

-- What a chunk of this batch moves its tenant on by.
local function cost_of(record)
  local items = math.max(1, number_of(record.items) / math.max(1, number_of(record.chunks)))
  return items / math.max(1, number_of(record.weight))
end

-- Where it is missing, it begins with the tenant whose turn it is.
local function clock_of(model)
  local clock = redis.call('GET', key_clock(model))
  if not clock then
    clock = redis.call('ZRANGE', key_turns(model), 0, 0, 'WITHSCORES')[2] or '1'
    redis.call('SET', key_clock(model), clock)
  end
  return tonumber(clock)
end

-- Says whether the batch or its tenant wasn't in yet.
local function enter_turns(id)
  local record = record_of(id, 'model', 'tenant', 'priority', 'created_at')
  local queue, turns, rested = queue_key(record.model, record.tenant), key_turns(record.model), key_rested(record.model)
  local stands = redis.call('ZSCORE', turns, record.tenant)
  if not stands or redis.call('EXISTS', queue) == 0 then
    local at = math.max(clock_of(record.model), number_of(stands or redis.call('ZSCORE', rested, record.tenant)))
    redis.call('ZADD', turns, at, record.tenant)
    redis.call('ZREM', rested, record.tenant)
  end
  return redis.call('ZADD', queue, rank_of(record.priority, record.created_at), id) == 1 or not stands
end

local function leave_turns(id)
  local record = record_of(id, 'model', 'tenant')
  redis.call('ZREM', queue_key(record.model, record.tenant), id)
end

-- The tenant, its time and its next batch; nil where no tenant has one. Tenants that have none go to rest.
local function whose_turn(model)
  while true do
    local front = redis.call('ZRANGE', key_turns(model), 0, 0, 'WITHSCORES')
    if not front[1] then return nil end
    local id = redis.call('ZRANGE', queue_key(model, front[1]), 0, 0)[1]
    if id then return front[1], tonumber(front[2]), id end
    redis.call('ZREM', key_turns(model), front[1])
    redis.call('ZADD', key_rested(model), front[2], front[1])
  end
end

-- So many chunks of this batch were handed out and come back without having been claimed: its tenant doesn't owe their turns.
local function give_turns_back(id, chunks)
  local record = record_of(id, 'model', 'tenant', 'items', 'chunks', 'weight')
  for index, key in ipairs({ key_turns(record.model), key_rested(record.model) }) do
    local at = tonumber(redis.call('ZSCORE', key, record.tenant) or nil)
    local before = at and math.max(clock_of(record.model), at - chunks * cost_of(record))
    if at and before < at then redis.call('ZADD', key, before, record.tenant) end
  end
end

-- The chunk's turn has come: it is claimed. The clock never goes back, nor past a turn that is still to come.
local function tell_clock(model, at)
  local front = redis.call('ZRANGE', key_turns(model), 0, 0, 'WITHSCORES')[2]
  local clock = math.min(at, tonumber(front or at))
  if clock > clock_of(model) then redis.call('SET', key_clock(model), clock) end
end
`;
