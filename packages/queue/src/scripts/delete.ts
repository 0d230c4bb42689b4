/**
 * startDelete(id, newest, next or ''): an ended batch is about to be deleted: from now on it waits for its sweep, which finishes what a crash leaves half done. Called by the
 *   api and by retention, before deleted.json is written. → started | refused(status) | retried. An id without a record is the caller's to know: what S3 says of it.
 *   A retry copies what it runs from the plans of its lineage. So while the newest has no plan, or the next one is being written, none of them goes; and for a minute,
 *   or until forgetDeleted, no other request makes that next one.
 * forgetDeleted(id, tenant, next or ''): deleted.json stands: nothing of the batch stays in Redis but its place in the sweep. Called after it was written, and by the sweep. → forgotten
 * keptTooLong(before, limit): settled batches that ended before this second, the oldest first. Called by reconcile. → [id]
 */
import { retryOfSeconds } from "../layout.ts";
import { unguarded, writing } from "./prelude.ts";

export const startDelete = writing(
  "startDelete",
  `
local id, newest, next_id = ARGV[1], ARGV[2], ARGV[3]
local record = record_of(id)
if record.status and not is_ended(record.status) then return answer({ kind = 'refused', status = record.status }) end
if record_of(newest).status == 'validating' then return '{"kind":"retried"}' end
if next_id ~= '' then
  local token = 'delete ' .. id
  local free = redis.call('SET', key_next(next_id), token, 'NX', 'EX', ${retryOfSeconds}) or redis.call('GET', key_next(next_id)) == token
  if not free or record_of(next_id).status then return '{"kind":"retried"}' end
end
redis.call('ZADD', key_sweep(), 0, id)
return '{"kind":"started"}'
`,
);

export const forgetDeleted = writing(
  "forgetDeleted",
  `
local id, tenant, next_id = ARGV[1], ARGV[2], ARGV[3]
redis.call('DEL', key_batch(id), key_parts(id), key_tallies(id))
redis.call('ZREM', key_list(tenant), id)
keep_bytes(tenant, id, 0)
redis.call('ZREM', key_open(), id)
redis.call('ZREM', key_kept(), id)
if next_id ~= '' and redis.call('GET', key_next(next_id)) == 'delete ' .. id then redis.call('DEL', key_next(next_id)) end
if not redis.call('ZSCORE', key_sweep(), id) then redis.call('ZADD', key_sweep(), 0, id) end
return '{"kind":"forgotten"}'
`,
);

export const keptTooLong = unguarded(
  "keptTooLong",
  `
local ids = redis.call('ZRANGE', key_kept(), '-inf', '(' .. ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
return #ids > 0 and cjson.encode(ids) or '[]'
`,
);
