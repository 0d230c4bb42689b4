/**
 * expire(id): validating, in_progress, paused → expiring, once the deadline has passed. Called by reconcile. → expiring | not_due(leftMs) | refused(status) | gone
 * seal(id, seal, outcome, quietMs, errors): → finalizing; from now on `record` is refused. Called by the worker that recorded the last part, by reconcile,
 *   and by the planner (failed). → sealed(outcome) | lost(seal, outcome) | waiting(running, leftMs) | refused(status) | gone
 *   completed: every chunk has its part; from cancelling the end is cancelled, from expiring expired. cancelled, expired: from their own status, once the
 *   running chunks handed in their parts, at most quietMs after the step that stopped them. failed: from validating alone.
 * sealed(id, seal): the finalizer's fence, after its seals/ object stands and before it writes final/. → sealed | refused(status) | gone
 */
import { writing } from "./prelude.ts";

export const expire = writing(
  "expire",
  `
local id = ARGV[1]
local record = record_of(id, 'expires_at')
if not record.status then return gone end
if record.status == 'expiring' then return '{"kind":"expiring"}' end
if record.status ~= 'validating' and record.status ~= 'in_progress' and record.status ~= 'paused' then
  return answer({ kind = 'refused', status = record.status })
end
local left_ms = tonumber(record.expires_at) * 1000 - now_ms
if left_ms > 0 then return answer({ kind = 'not_due', leftMs = left_ms }) end
redis.call('HSET', key_batch(id), 'status', 'expiring', 'expiring_at', now, 'quiet_from_ms', now_ms)
leave_turns(id)
return '{"kind":"expiring"}'
`,
);

export const seal = writing(
  "seal",
  `
local id, seal, wanted, quiet_ms, errors = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local record = record_of(id, 'model', 'plan', 'chunks', 'recorded', 'seal', 'outcome', 'quiet_from_ms')
local status = record.status
if not status then return gone end
if is_sealed(status) then
  return answer({ kind = record.seal == seal and 'sealed' or 'lost', seal = record.seal, outcome = record.outcome })
end
local refused = answer({ kind = 'refused', status = status })
local outcome = wanted
if wanted == 'completed' then
  if not record.plan or number_of(record.recorded) ~= number_of(record.chunks) then return refused end
  if status == 'cancelling' then outcome = 'cancelled' end
  if status == 'expiring' then outcome = 'expired' end
elseif wanted == 'failed' then
  if status ~= 'validating' then return refused end
else
  if status ~= (wanted == 'cancelled' and 'cancelling' or 'expiring') then return refused end
  local running = claimed_count(id)
  local left_ms = number_of(record.quiet_from_ms) + quiet_ms - now_ms
  if running > 0 and left_ms > 0 then return answer({ kind = 'waiting', running = running, leftMs = left_ms }) end
end
if errors ~= '' then redis.call('HSET', key_batch(id), 'errors', errors) end
close_batch(id, record.model, seal, outcome)
return answer({ kind = 'sealed', outcome = outcome })
`,
);

export const fence = writing(
  "fence",
  `
local id, seal = ARGV[1], ARGV[2]
local record = record_of(id, 'seal')
if not record.status then return gone end
if record.status == 'finalizing' and record.seal == seal then return '{"kind":"sealed"}' end
return answer({ kind = 'refused', status = record.status })
`,
);
