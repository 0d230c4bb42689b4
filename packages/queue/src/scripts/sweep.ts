/**
 * The list of settled batches whose left-overs in S3 are still to be swept, by when each was settled or looked at last. `settle` adds to it.
 *   It goes with Redis: a rebuild refills it, batch by batch, as each is settled again.
 * sweepable(ageMs, limit): those that nobody looked at for so long, the longest wait first. Called by reconcile. → [id]
 * swept(id, again 0|1): a look is over: again later, or never more. Called by reconcile. → swept | gone (it wasn't listed)
 */
import { unguarded, writing } from "./prelude.ts";

export const sweepable = unguarded(
  "sweepable",
  `
local ids = redis.call('ZRANGE', key_sweep(), '-inf', now_ms - tonumber(ARGV[1]), 'BYSCORE', 'LIMIT', 0, ARGV[2])
return #ids > 0 and cjson.encode(ids) or '[]'
`,
);

export const swept = writing(
  "swept",
  `
local id, again = ARGV[1], ARGV[2] == '1'
if not redis.call('ZSCORE', key_sweep(), id) then return gone end
if again then redis.call('ZADD', key_sweep(), now_ms, id) else redis.call('ZREM', key_sweep(), id) end
return '{"kind":"swept"}'
`,
);
