/**
 * claim(id, chunk, attempt, dispatch, worker): may this job run its chunk? Called by a worker before it reads an item.
 *   → run(plan, expiresAt) | parked | stopped | recorded | sealed | superseded | gone; all but `run` end the job.
 *   Twins may run (a stalled worker wakes late; the first part recorded wins), but a job whose chunk was handed out again under a later number is
 *   superseded: the later job is alive, or repairChunks adds one, so refusing loses nothing and saves the work.
 *   A chunk that was taken back while its job still stood is taken out again. The claimant noted here is what quarantine will look at.
 *   The model's clock is told of the chunk's turn: where tenants that come anew begin.
 * release(id, chunk, attempt): a graceful hand-back. The chunk stays handed out under its number, unclaimed; its job goes back to the queue.
 */
import { writing } from "./prelude.ts";

export const claim = writing(
  "claim",
  `
local id, chunk, attempt, number, worker = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local record = record_of(id, 'model', 'plan', 'chunks', 'next', 'dispatches', 'expires_at')
if not record.status then return gone end
if is_sealed(record.status) then return '{"kind":"sealed"}' end
if not record.plan or chunk >= number_of(record.chunks) or chunk >= number_of(record.next) then return '{"kind":"superseded"}' end
if part_of(id, chunk) ~= 0 then return '{"kind":"recorded"}' end
local entry = out_of(id, chunk)
if entry and entry.dispatch > number then return '{"kind":"superseded"}' end
local turn = redis.call('ZSCORE', key_ready(record.model), id .. '-' .. chunk)
take_from_ready(record.model, id, chunk)
if record.status == 'paused' or is_stopping(record.status) then
  redis.call('HDEL', key_out(id), chunk)
  redis.call('ZADD', key_back(id), chunk, chunk)
  if turn then give_turns_back(id, 1) end
  return answer({ kind = record.status == 'paused' and 'parked' or 'stopped' })
end
if turn then tell_clock(record.model, tonumber(turn)) end
redis.call('ZREM', key_back(id), chunk)
put_out(id, chunk, { dispatch = number, at = entry and entry.at or now_ms, attempt = attempt, claimed = now_ms, worker = worker })
if number > number_of(record.dispatches) then redis.call('HSET', key_batch(id), 'dispatches', number) end
return answer({ kind = 'run', plan = record.plan, expiresAt = tonumber(record.expires_at) })
`,
);

export const release = writing(
  "release",
  `
local id, chunk, attempt = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local record = record_of(id, 'model')
if not record.status then return gone end
local entry = out_of(id, chunk)
if entry and entry.attempt == attempt then
  put_out(id, chunk, { dispatch = entry.dispatch, at = now_ms })
  redis.call('ZADD', key_ready(record.model), 0, id .. '-' .. chunk)
end
return '{"kind":"released"}'
`,
);
