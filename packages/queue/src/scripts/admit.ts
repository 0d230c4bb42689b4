/**
 * admit(tenant, id, runningBatches, itemsQueued, storedBytes: at most, '' for no such quota): takes the batch in among the tenant's, where there is room. Called by the api before batch.json
 *   is written. → admitted | over(quota, have, most). The same id again is counted once. Between the look and the taking in comes no other: one script.
 * quotaUse(tenant): what the tenant has of each. Called by the api. → running_batches, items_queued, stored_bytes
 */
import { writing } from "./prelude.ts";

export const admit = writing(
  "admit",
  `
local tenant, id, most_batches, most_items, most_bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local batches, items, bytes = busy_of(tenant, id)
if most_batches and batches >= most_batches then
  return answer({ kind = 'over', quota = 'running_batches', have = batches, most = most_batches })
end
if most_items and items >= most_items then return answer({ kind = 'over', quota = 'items_queued', have = items, most = most_items }) end
bytes = bytes + stored_of(tenant)
if most_bytes and bytes >= most_bytes then return answer({ kind = 'over', quota = 'stored_bytes', have = bytes, most = most_bytes }) end
redis.call('ZADD', key_busy(tenant), 'NX', now, id)
return '{"kind":"admitted"}'
`,
);

export const quotaUse = writing(
  "quotaUse",
  `
local batches, items, bytes = busy_of(ARGV[1], '')
return answer({ running_batches = batches, items_queued = items, stored_bytes = bytes + stored_of(ARGV[1]) })
`,
);
