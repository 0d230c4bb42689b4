/**
 * What processes say of themselves; nothing here belongs to a batch, so none of it waits for the sentinel.
 * announce(model, worker, slots, ttlMs): the worker serves the model for so long. → announced
 * live(model…): who serves what. → [{ key, slots, workers }]; forgets what has expired.
 * renew(name, token, ttlMs), letGo(name, token): a lease of the token's holder alone. → held | lost
 */
import { unguarded } from "./prelude.ts";

export const announce = unguarded(
  "announce",
  `
local model, worker, slots, ttl_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
redis.call('SADD', key_models(), model)
redis.call('HSET', key_serving(model), worker, string.format('%d %d', now_ms + ttl_ms, slots))
return '{"kind":"announced"}'
`,
);

export const live = unguarded(
  "live",
  `
local models = {}
for index, model in ipairs(redis.call('SMEMBERS', key_models())) do
  local slots, workers = 0, 0
  local serving = redis.call('HGETALL', key_serving(model))
  for place = 1, #serving, 2 do
    local expires_ms, worker_slots = string.match(serving[place + 1], '^(%d+) (%d+)')
    if tonumber(expires_ms) > now_ms then
      workers = workers + 1
      slots = slots + tonumber(worker_slots)
    else
      redis.call('HDEL', key_serving(model), serving[place])
    end
  end
  if workers > 0 then models[#models + 1] = { key = model, slots = slots, workers = workers } end
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
