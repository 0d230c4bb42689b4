/**
 * startDelete(id): an ended batch is about to be deleted: from now on it waits for its sweep, which finishes what a crash leaves half done. Called by the api and by
 *   retention, before deleted.json is written. → started | refused(status). An id without a record is the caller's to know: what S3 says of it.
 * forgetDeleted(id, tenant): deleted.json stands: nothing of the batch stays in Redis but its place in the sweep. Called after it was written, and by the sweep. → forgotten
 * keptTooLong(before, limit): settled batches that ended before this second, the oldest first. Called by reconcile. → [id]
 */
import { unguarded, writing } from "./prelude.ts";

export const startDelete = writing(
  "startDelete",
  `
local id = ARGV[1]
local record = record_of(id)
if record.status and not is_ended(record.status) then return answer({ kind = 'refused', status = record.status }) end
redis.call('ZADD', key_sweep(), 0, id)
return '{"kind":"started"}'
`,
);

export const forgetDeleted = writing(
  "forgetDeleted",
  `
local id, tenant = ARGV[1], ARGV[2]
redis.call('DEL', key_batch(id), key_parts(id), key_tallies(id))
redis.call('ZREM', key_list(tenant), id)
redis.call('ZREM', key_open(), id)
redis.call('ZREM', key_kept(), id)
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
