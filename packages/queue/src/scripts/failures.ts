/**
 * `max_failed`: a batch of which more items fail than its owner allows is paused, with its reason, by the script that counts them (adoptPlan, record), so exactly once.
 * A number is of lines; a share is of all its lines, known from the adoption on, so that the first failures of a large batch don't stop it. What runs finishes, and counts on.
 * Whoever resumes it then takes the limit off for good (applyResume, `lifts`): the control log says so, and a replay ends the same. A batch whose last part this was isn't paused.
 */
export const failuresInLua = `
local function most_failed(max_failed, total)
  local share = string.match(max_failed, '^(.+)%%$')
  return share and math.floor(total * tonumber(share) / 100) or tonumber(max_failed)
end

local function pause_if_doomed(id)
  local record = record_of(id, 'max_failed', 'max_failed_lifted', 'failed', 'items', 'refused', 'recorded', 'chunks')
  if record.status ~= 'in_progress' or not record.max_failed or record.max_failed_lifted then return end
  if number_of(record.recorded) == number_of(record.chunks) then return end
  local total = number_of(record.items) + number_of(record.refused)
  if number_of(record.failed) <= most_failed(record.max_failed, total) then return end
  local reason = string.format('%d of %d items failed, more than max_failed (%s) allows', number_of(record.failed), total, record.max_failed)
  redis.call('HSET', key_batch(id), 'status', 'paused', 'paused_reason', reason)
  leave_turns(id)
end
`;
