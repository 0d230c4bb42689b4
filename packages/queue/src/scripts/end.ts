/**
 * end(id, seal, status, copy 0|1, lines, bytes, field, value…): finalizing → the outcome, with what the record keeps of the end (record.ts). `lines`: items and refused ones.
 *   Called by the finalizer after end.json stands; with copy 1 by whoever finds end.json though Redis says
 *   otherwise: it is the truth then, whatever the record's seal. → ended(status) | refused(status) | gone. An end status never changes.
 * settle(id, delivery): what follows the end is done; only the record and its place in the list stay, and the batch waits for its sweep. Called after after.json stands. → ended | refused | gone
 *   The first one's delivery stays: a twin's copy that failed late undoes nothing.
 */
import { writing } from "./prelude.ts";

export const end = writing(
  "end",
  `
local id, seal, status, copy, lines, bytes = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
local record = record_of(id, 'tenant', 'model', 'seal', 'outcome', 'refused', 'shown')
if not record.status then return gone end
if is_ended(record.status) then
  return answer({ kind = record.seal == seal and 'ended' or 'refused', status = record.status })
end
local mine = record.status == 'finalizing' and record.seal == seal and record.outcome == status
if not mine and not copy then return answer({ kind = 'refused', status = record.status }) end

redis.call('HSET', key_batch(id), 'items', lines - number_of(record.refused), unpack(ARGV, 7))
redis.call('ZREM', key_busy(record.tenant), id)
keep_bytes(record.tenant, id, bytes)
forget_chunks(id, record.model)
return answer({ kind = 'ended', status = status })
`,
);

export const settle = writing(
  "settle",
  `
local id, delivery = ARGV[1], ARGV[2]
local record = record_of(id, 'settled', 'ended_at')
if not record.status then return gone end
if not is_ended(record.status) then return answer({ kind = 'refused', status = record.status }) end
if record.settled then return answer({ kind = 'ended', status = record.status }) end
redis.call('HSET', key_batch(id), 'settled', 1, 'delivery', delivery)
redis.call('ZREM', key_open(), id)
redis.call('ZADD', key_sweep(), now_ms, id)
redis.call('ZADD', key_kept(), number_of(record.ended_at), id)
redis.call('DEL', key_parts(id))
return answer({ kind = 'ended', status = record.status })
`,
);
