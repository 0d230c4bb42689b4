/**
 * order(model, waitKey): puts the model's waiting jobs (BullMQ's list, whose end is taken first) in the order of their chunks' turns.
 *   Called by dispatch's caller after it added jobs of which one comes before others that wait. → ordered(jobs)
 *   So a tenant that comes anew waits for chunks that run, and not for all that are ready. Jobs of equal turns stay as they are; those whose chunk isn't in
 *   `ready` (it was claimed before, or its batch is sealed) and those that have had their turn come first. Every job stays in the list, once.
 */
import { unguarded } from "./prelude.ts";

export const order = unguarded(
  "order",
  `
local model, wait_key = ARGV[1], ARGV[2]
local times = {}
local ready = redis.call('ZRANGE', key_ready(model), 0, -1, 'WITHSCORES')
for index = 1, #ready, 2 do times[ready[index]] = tonumber(ready[index + 1]) end

local jobs = redis.call('LRANGE', wait_key, 0, -1)
local places = {}
for index, job in ipairs(jobs) do
  -- A chunk job's id is ID-CHUNK-DISPATCH.
  places[index] = { job = job, at = times[string.match(job, '^(.+)-%d+$') or ''] or 0, index = index }
end
table.sort(places, function(one, other)
  if one.at ~= other.at then return one.at > other.at end
  return one.index < other.index
end)
for index, place in ipairs(places) do
  if place.index ~= index then redis.call('LSET', wait_key, index - 1, place.job) end
end
return answer({ kind = 'ordered', jobs = #jobs })
`,
);
