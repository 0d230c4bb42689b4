/**
 * What a tenant has under way, for its quotas: counted from the records of its batches that haven't ended (`busy`), so that there is no second count to keep right. A batch that
 * is being submitted counts from its admission on, though it has no record yet; for a minute, for then its submit has broken off. One walk over these batches a submit and a plan,
 * and only for tenants that have quotas.
 */
export const quotasInLua = `
local admitted_seconds = 60

-- How many batches, and how many of their items have no line yet; all but this one's.
local function busy_of(tenant, id)
  local batches, items = 0, 0
  local busy = redis.call('ZRANGE', key_busy(tenant), 0, -1, 'WITHSCORES')
  for index = 1, #busy, 2 do
    local other = busy[index]
    local record = record_of(other, 'items', 'refused', 'completed', 'failed')
    local broken_off = not record.status and now - tonumber(busy[index + 1]) > admitted_seconds
    if broken_off or (record.status and is_ended(record.status)) then
      redis.call('ZREM', key_busy(tenant), other)
    elseif other ~= id then
      batches = batches + 1
      items = items + math.max(0, number_of(record.items) + number_of(record.refused) - number_of(record.completed) - number_of(record.failed))
    end
  end
  return batches, items
end
`;
