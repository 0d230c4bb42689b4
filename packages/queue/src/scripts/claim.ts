/**
 * claim(id, chunk, attempt, dispatch, worker): may this job run its chunk? Called by a worker before it reads an item.
 *   → run(plan, expiresAt, suspect, quarantined) | parked | stopped | recorded | sealed | superseded | gone; all but `run` end the job.
 *   Twins may run (a stalled worker wakes late; the first part recorded wins), but a job whose chunk was handed out again under a later number is
 *   superseded: the later job is alive, or repairChunks adds one, so refusing loses nothing and saves the work.
 *   A chunk that was taken back while its job still stood is taken out again.
 *   Where the last claim neither got its part nor was given back, and its claimant is silent (serving:MODEL), whatever ran there may have ended the process: the chunk
 *   is suspect until it has its part. It runs alone in its process, one item at a time, each noted before it runs; the item that is the noted one at such a death is
 *   charged with it, and at the third one quarantined: `quarantined` are those of the batch, and they must not run. Nobody else is charged: not the chunks beside it,
 *   nor what ran before a claim that is still answered for.
 *   The model's clock is told of the chunk's turn: where tenants that come anew begin.
 * note(id, chunk, attempt, item or '-'): this item of the suspect chunk runs next; '-': none. Called by the claimant before each item, and behind the last.
 *   → noted | superseded: the claim is another's by now, and nothing more of this one may run.
 * release(id, chunk, attempt): a graceful hand-back. The chunk stays handed out under its number, unclaimed; its job goes back to the queue.
 */
import { deathsOfPoison } from "../layout.ts";
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
local suspect = redis.call('HGET', key_suspects(id), chunk)
if entry and entry.claimed > 0 and entry.attempt ~= attempt and not is_serving(record.model, entry.worker) then
  if suspect and suspect ~= '-' then redis.call('HINCRBY', key_deaths(id), suspect, 1) end
  suspect = '-'
end
if suspect then redis.call('HSET', key_suspects(id), chunk, '-') end
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
local quarantined = {}
local deaths = suspect and redis.call('HGETALL', key_deaths(id)) or {}
for index = 1, #deaths, 2 do
  if tonumber(deaths[index + 1]) >= ${deathsOfPoison} then quarantined[#quarantined + 1] = tonumber(deaths[index]) end
end
return '{"kind":"run","plan":"' .. record.plan .. '","expiresAt":' .. record.expires_at .. ',"suspect":' .. tostring(suspect ~= false)
  .. ',"quarantined":' .. (#quarantined > 0 and cjson.encode(quarantined) or '[]') .. '}'
`,
);

export const note = writing(
  "note",
  `
local id, chunk, attempt, item = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local record = record_of(id)
if not record.status then return gone end
local entry = out_of(id, chunk)
if not entry or entry.attempt ~= attempt or is_sealed(record.status) then return '{"kind":"superseded"}' end
redis.call('HSET', key_suspects(id), chunk, item)
return '{"kind":"noted"}'
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
