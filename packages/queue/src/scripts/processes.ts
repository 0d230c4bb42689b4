/**
 * What processes say of themselves; nothing here belongs to a batch, so none of it waits for the sentinel.
 * announce(model, worker, slots, ttlMs, items a second or '-'): the worker serves the model for so long. → announced
 * announcePlanner(worker, ttlMs): the worker plans batches, of whatever model, for so long. → announced
 * live(model…): who serves what. → [{ key, slots, workers, itemsPerSecond or null }]; forgets what has expired.
 * renew(name, token, ttlMs), letGo(name, token): a lease of the token's holder alone. → held | lost
 */
import { unguarded } from "./prelude.ts";

export const announce = unguarded(
  "announce",
  `
local model, worker, slots, ttl_ms, rate = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
redis.call('SADD', key_models(), model)
redis.call('HSET', key_serving(model), worker, string.format('%d %d %s', now_ms + ttl_ms, slots, rate))
return '{"kind":"announced"}'
`,
);

export const announcePlanner = unguarded(
  "announcePlanner",
  `
redis.call('ZREMRANGEBYSCORE', key_planners(), '-inf', now_ms)
redis.call('ZADD', key_planners(), now_ms + tonumber(ARGV[2]), ARGV[1])
return '{"kind":"announced"}'
`,
);

export const live = unguarded(
  "live",
  `
local models = {}
for index, model in ipairs(redis.call('SMEMBERS', key_models())) do
  local slots, workers, measured, rates = 0, 0, 0, 0
  local serving = redis.call('HGETALL', key_serving(model))
  for place = 1, #serving, 2 do
    local expires_ms, worker_slots, rate = string.match(serving[place + 1], '^(%d+) (%d+) ?(%S*)')
    if tonumber(expires_ms) > now_ms then
      workers = workers + 1
      slots = slots + tonumber(worker_slots)
      if tonumber(rate) then
        measured = measured + 1
        rates = rates + tonumber(rate)
      end
    else
      redis.call('HDEL', key_serving(model), serving[place])
    end
  end
  local rate = measured > 0 and rates / measured * workers or cjson.null
  if workers > 0 then models[#models + 1] = { key = model, slots = slots, workers = workers, itemsPerSecond = rate } end
end
return #models > 0 and cjson.encode(models) or '[]'
`,
);

export const renew = unguarded(
  "renew",
  `
if redis.call('GET', key_lease(ARGV[1])) ~= ARGV[2] then return '{"kind":"lost"}' end
redis.call('PEXPIRE', key_lease(ARGV[1]), ARGV[3])
return '{"kind":"held"}'
`,
);

export const letGo = unguarded(
  "letGo",
  `
if redis.call('GET', key_lease(ARGV[1])) ~= ARGV[2] then return '{"kind":"lost"}' end
redis.call('DEL', key_lease(ARGV[1]))
return '{"kind":"held"}'
`,
);
