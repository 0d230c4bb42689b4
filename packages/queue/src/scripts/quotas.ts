/**
 * What a tenant has under way, and what it keeps, for its quotas. What is under way is counted from the records of its batches that haven't ended (`busy`), so that there is no
 * second count to keep right. A batch that is being submitted counts from its admission on, though it has no record yet; for a minute, for then its submit has broken off. One
 * walk over these batches a submit and a plan, and only for tenants that have quotas.
 * Of batches that have ended there may be too many to walk over, so their bytes have a sum. It follows from `stored` alone: a batch's bytes are set, never added, and the sum moves by
 * the difference, so that the same step twice changes nothing.
 */
import { admittedSeconds } from "../layout.ts";

export const quotasInLua = `
-- How many batches, how many of their items have no line yet, and what they keep; all but this one's.
local function busy_of(tenant, id)
  local batches, items, bytes = 0, 0, 0
  local busy = redis.call('ZRANGE', key_busy(tenant), 0, -1, 'WITHSCORES')
  for index = 1, #busy, 2 do
    local other = busy[index]
    local record = record_of(other, 'items', 'refused', 'completed', 'failed', 'stored_bytes')
    local broken_off = not record.status and now - tonumber(busy[index + 1]) > ${admittedSeconds}
    if broken_off or (record.status and is_ended(record.status)) then
      redis.call('ZREM', key_busy(tenant), other)
    elseif other ~= id then
      batches = batches + 1
      items = items + math.max(0, number_of(record.items) + number_of(record.refused) - number_of(record.completed) - number_of(record.failed))
      bytes = bytes + number_of(record.stored_bytes)
    end
  end
  return batches, items, bytes
end

-- What ended batches keep.
local function stored_of(tenant) return number_of(redis.call('HGET', key_stored(tenant), 'sum')) end

-- An ended batch keeps so many bytes; 0: it is deleted, or never had any.
local function keep_bytes(tenant, id, bytes)
  local key = key_stored(tenant)
  local before = number_of(redis.call('HGET', key, id))
  if bytes == before then return end
  if bytes == 0 then redis.call('HDEL', key, id) else redis.call('HSET', key, id, string.format('%.0f', bytes)) end
  redis.call('HINCRBY', key, 'sum', string.format('%.0f', bytes - before))
end
`;
