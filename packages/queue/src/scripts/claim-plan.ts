/**
 * claimPlan(id, attempt, worker): may this job plan its batch? Called by a worker before it reads anything of it. → run(suspect, convicted) | stopped(status) | gone
 *   Twins may run; the first plan that is adopted wins. Where the last claim neither came to an end nor was given back, and its claimant is silent (planners), whatever
 *   was planned there may have ended the process: the plan is suspect until the batch is adopted or sealed. It is made with nothing else in its process, and what it
 *   touches is noted before; what is the noted thing at such a death is charged with it, and convicted at the third: it must not be touched. As a suspect chunk (claim.ts).
 * notePlan(id, attempt, what or '-'): this the suspect plan touches next (the words are the worker's own); '-': nothing. Called by the claimant.
 *   → noted | superseded (the claim is another's by now, or there is nothing to plan any more) | gone
 * releasePlan(id, attempt): a graceful hand-back, or a fault that passes. Called by the claimant. → released | gone
 */
import { deathsOfPoison } from "../layout.ts";
import { writing } from "./prelude.ts";

export const claimPlan = writing(
  "claimPlan",
  `
local id, attempt, worker = ARGV[1], ARGV[2], ARGV[3]
local record = record_of(id)
if not record.status then return gone end
if record.status ~= 'validating' then return answer({ kind = 'stopped', status = record.status }) end
local key = key_planning(id)
local last, claimant, noted, suspect = unpack(redis.call('HMGET', key, 'attempt', 'worker', 'noted', 'suspect'))
if last and last ~= attempt and not is_planning(claimant) then
  if noted then redis.call('HINCRBY', key, 'death ' .. noted, 1) end
  suspect = '1'
  redis.call('HSET', key, 'suspect', suspect)
end
redis.call('HDEL', key, 'noted')
redis.call('HSET', key, 'attempt', attempt, 'worker', worker)
local convicted = {}
local fields = suspect and redis.call('HGETALL', key) or {}
for index = 1, #fields, 2 do
  local what = string.match(fields[index], '^death (.+)$')
  if what and tonumber(fields[index + 1]) >= ${deathsOfPoison} then convicted[#convicted + 1] = what end
end
return '{"kind":"run","suspect":' .. tostring(suspect ~= false) .. ',"convicted":' .. (#convicted > 0 and cjson.encode(convicted) or '[]') .. '}'
`,
);

export const notePlan = writing(
  "notePlan",
  `
local id, attempt, what = ARGV[1], ARGV[2], ARGV[3]
if not record_of(id).status then return gone end
if redis.call('HGET', key_planning(id), 'attempt') ~= attempt then return '{"kind":"superseded"}' end
if what == '-' then redis.call('HDEL', key_planning(id), 'noted') else redis.call('HSET', key_planning(id), 'noted', what) end
return '{"kind":"noted"}'
`,
);

export const releasePlan = writing(
  "releasePlan",
  `
local id, attempt = ARGV[1], ARGV[2]
if not record_of(id).status then return gone end
if redis.call('HGET', key_planning(id), 'attempt') == attempt then redis.call('HDEL', key_planning(id), 'attempt', 'worker', 'noted') end
return '{"kind":"released"}'
`,
);
