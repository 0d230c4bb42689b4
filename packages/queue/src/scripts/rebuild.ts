/**
 * Making Redis believed again after a loss. All but the first are refused (lost) without the live lease, which is bound to this run of the server: a Redis that
 * was emptied or started anew meanwhile ends every rebuild that was under way.
 * begin(token, ttlMs): takes the lease. → taken(lost, now) | held (by another)
 * hold(token, ttlMs): → held | lost. letGo(token): → held | lost
 * forget(token, key…): of these keys, those that a rebuild makes anew go. What stays: the rows of settled batches and their lists, which never change, reservations,
 *   and what processes say of themselves. → forgotten | lost
 * publish(token, id, tenant, model, createdAt, keyHash or '', parts, tallies as JSON, field, value…): the record of one batch, as its rebuilt/ object or its end
 *   says, which stands by now. → published | exists | lost
 * believe(token, epoch): the sentinel, last of all; the lease ends, and ended batches are to be listed again from the first. → believed | lost
 * relisted(token, id or ''): those up to this one are listed again; '': all are. → relisted | lost
 */
import { idempotencySeconds } from "../layout.ts";
import { unguarded } from "./prelude.ts";

const mine = `
local function is_mine(token) return redis.call('GET', key_lease('rebuild')) == token .. ' ' .. run_id() end
`;

const withLease = (name: string, body: string) =>
  unguarded(
    name,
    `${mine}
if not is_mine(ARGV[1]) then return '{"kind":"lost"}' end
${body}`,
  );

export const begin = unguarded(
  "begin",
  `
local token, ttl_ms = ARGV[1], ARGV[2]
local key = key_lease('rebuild')
local held = redis.call('GET', key)
-- Another run's: its holder can do nothing with it any more.
if held and string.match(held, ' (%x+)$') == run_id() then return '{"kind":"held"}' end
redis.call('SET', key, token .. ' ' .. run_id(), 'PX', ttl_ms)
return answer({ kind = 'taken', lost = not is_believed(), now = now })
`,
);

export const hold = withLease(
  "hold",
  `
redis.call('PEXPIRE', key_lease('rebuild'), ARGV[2])
return '{"kind":"held"}'
`,
);

export const letGo = withLease(
  "letGoRebuild",
  `
redis.call('DEL', key_lease('rebuild'))
return '{"kind":"held"}'
`,
);

export const forget = withLease(
  "forget",
  `
local records = key_batch('')
for index = 2, #ARGV do
  local key = ARGV[index]
  local settled = string.sub(key, 1, #records) == records and redis.call('HGET', key, 'settled')
  if not settled then redis.call('UNLINK', key) end
end
return '{"kind":"forgotten"}'
`,
);

export const publish = withLease(
  "publish",
  `
local id, tenant, model, created_at, key_hash, parts, tallies = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local key = key_batch(id)
if redis.call('EXISTS', key) == 1 then return '{"kind":"exists"}' end
redis.call('HSET', key, unpack(ARGV, 9))
redis.call('ZADD', key_list(tenant), created_at, id)
redis.call('SADD', key_models(), model)
local left = created_at + ${idempotencySeconds} - now
if key_hash ~= '' and left > 0 then redis.call('SET', key_key(key_hash), id, 'NX', 'EX', left) end
local record = record_of(id, 'settled', 'ended_at', 'stored_bytes')
if is_ended(record.status) then keep_bytes(tenant, id, number_of(record.stored_bytes)) end
if record.settled then
  redis.call('ZADD', key_kept(), number_of(record.ended_at), id)
  redis.call('ZADD', key_sweep(), now_ms, id)
  return '{"kind":"published"}'
end
redis.call('ZADD', key_open(), created_at, id)
if #parts > 0 then redis.call('SET', key_parts(id), parts) end
for index, tally in ipairs(cjson.decode(tallies)) do redis.call('HSET', key_tallies(id), tally[1], tally[2]) end
if is_stopping(record.status) then redis.call('HSET', key, 'quiet_from_ms', now_ms) end
if record.status == 'expiring' then redis.call('HSET', key, 'expiring_at', now) end
if not is_ended(record.status) then redis.call('ZADD', key_busy(tenant), 'NX', now, id) end
if record.status == 'in_progress' then
  enter_turns(id)
  -- What paused it, if it was: the counts are the same, and the control log has no such pause.
  pause_if_doomed(id)
end
return '{"kind":"published"}'
`,
);

export const believe = withLease(
  "believe",
  `
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'run_id', run_id())
redis.call('SET', key_relist(), '')
redis.call('DEL', key_lease('rebuild'))
return '{"kind":"believed"}'
`,
);

export const relisted = withLease(
  "relisted",
  `
if ARGV[2] == '' then redis.call('DEL', key_relist()) else redis.call('SET', key_relist(), ARGV[2]) end
return '{"kind":"relisted"}'
`,
);
