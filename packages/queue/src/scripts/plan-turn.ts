/**
 * planTurn(id, waitingKey): when the batch is to be planned beside others: the priority of its plan job, 1 the first. Called by whoever adds that job. → turn(at) | gone
 *   Tenants take turns: thousands of small batches of one don't hold up another's. A tenant's next turn is behind its last one, and a tenant that comes anew begins with
 *   the turn that is next (that of the first job in waitingKey, BullMQ's jobs with a priority). In one turn a tenant has as many plans as its weight says.
 *   Where nobody waits, turns begin at 1 again. A tenant's batches keep their order, whatever their priority: that is for chunks, and a plan takes a moment.
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
local id, waiting_key = ARGV[1], ARGV[2]
local record = record_of(id, 'tenant', 'weight')
if not record.status then return gone end
local first = redis.call('ZRANGE', waiting_key, 0, 0, 'WITHSCORES')[2]
if not first then redis.call('DEL', key_plans()) end
local next_turn = first and math.floor(tonumber(first) / ${scorePerPriority}) or 1
local last = number_of(redis.call('HGET', key_plans(), record.tenant))
local at = math.max(next_turn, last + 1 / math.max(1, number_of(record.weight)))
redis.call('HSET', key_plans(), record.tenant, string.format('%.17g', at))
return answer({ kind = 'turn', at = math.min(math.floor(at), ${lastTurn}) })
`,
);
