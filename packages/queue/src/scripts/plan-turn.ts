/**
 * planTurn(id, waitingKey, delayedKey): when the batch is to be planned beside others: the priority of its plan job, 1 the first. Called by whoever adds that job. → turn(at) | gone
 *   Tenants take turns: thousands of small batches of one don't hold up another's. A tenant's next turn is behind its last one, and a tenant that comes anew begins with
 *   the turn that is next (that of the first job in waitingKey, BullMQ's jobs with a priority). In one turn a tenant has as many plans as its weight says.
 *   Where nobody waits, turns begin at 1 again; but not while a job waits in delayedKey to be tried again, which keeps its turn: then they go on behind the last
 *   one, or whatever came meanwhile would be before it. A plan that is handed back keeps its turn too, and may come behind as many turns as its own. A tenant's batches keep their order, whatever their priority: that is for chunks, and a plan takes a moment.
 *   Decides nothing that counts: asked twice for one batch it gives two turns, and one that is lost costs a place in the queue.
 */
import { writing } from "./prelude.ts";

/** BullMQ refuses higher ones; all behind it come in the order of their adding. */
const lastTurn = 2 ** 21 - 1;
/** A job's place among those that wait: its priority times this, and a counter. */
const scorePerPriority = 2 ** 32;

export const planTurn = writing(
  "planTurn",
  `
local id, waiting_key, delayed_key = ARGV[1], ARGV[2], ARGV[3]
local record = record_of(id, 'tenant', 'weight')
if not record.status then return gone end
local first = redis.call('ZRANGE', waiting_key, 0, 0, 'WITHSCORES')[2]
local next_turn = first and math.floor(tonumber(first) / ${scorePerPriority}) or 1
if not first then
  if redis.call('EXISTS', delayed_key) == 0 then redis.call('DEL', key_plans()) end
  for _, last in ipairs(redis.call('HVALS', key_plans())) do next_turn = math.max(next_turn, math.floor(number_of(last))) end
end
local last = number_of(redis.call('HGET', key_plans(), record.tenant))
local at = math.max(next_turn, last + 1 / math.max(1, number_of(record.weight)))
redis.call('HSET', key_plans(), record.tenant, string.format('%.17g', at))
return answer({ kind = 'turn', at = math.min(math.floor(at), ${lastTurn}) })
`,
);
