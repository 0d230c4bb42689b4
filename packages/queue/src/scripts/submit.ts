/**
 * reserve(keyHash, id): an idempotency key takes its batch's id (derived from tenant, key and body), for a day.
 *   Called by the api before batch.json is written. → reserved(now) | mismatch (the key holds another body's id)
 * reserveAgain(bodyHash, id, retry 0|1): for clients that repeat a request without a key: a repetition gets the id of the same body's last request, of ten
 *   minutes at most; a first try always gets the new one. Called by the api. → reserved(id, known, now)
 * reserveRetry(id, token): the retry of this id is written by holders of this token alone, for a minute: longer than any writing of it lasts.
 *   Called by the api before batch.json is written. → reserved(now) | mismatch (another one is under way, or a delete in its lineage)
 *   `now` is Redis's clock, by which deadlines are judged: a batch's times are counted from it, whatever the api's own clock says.
 * submit(id, tenant, model, createdAt, keyHash or '', field, value…): – → validating, with what the record keeps of the request (record.ts).
 *   Called by the api once batch.json and the open/ marker stand, and by whoever finds a marker without a record. → created | exists | mismatch
 *   The key is taken again where it was lost: a retry that finds no record goes on with the submit.
 */
import { idempotencySeconds, retryOfSeconds, retrySeconds } from "../layout.ts";
import { writing } from "./prelude.ts";

const takeKey = `
local function take_key(hash, id)
  if redis.call('SET', key_key(hash), id, 'NX', 'EX', ${idempotencySeconds}) then return true end
  return redis.call('GET', key_key(hash)) == id
end
`;

export const reserve = writing(
  "reserve",
  `${takeKey}
if take_key(ARGV[1], ARGV[2]) then return answer({ kind = 'reserved', now = now }) end
return '{"kind":"mismatch"}'
`,
);

export const reserveAgain = writing(
  "reserveAgain",
  `
local hash, id, retry = ARGV[1], ARGV[2], ARGV[3] == '1'
local held = retry and redis.call('GET', key_retry(hash))
if held then return answer({ kind = 'reserved', id = held, known = true, now = now }) end
redis.call('SET', key_retry(hash), id, 'EX', ${retrySeconds})
return answer({ kind = 'reserved', id = id, known = false, now = now })
`,
);

export const reserveRetry = writing(
  "reserveRetry",
  `
local id, token = ARGV[1], ARGV[2]
if redis.call('SET', key_next(id), token, 'NX', 'EX', ${retryOfSeconds}) or redis.call('GET', key_next(id)) == token then
  return answer({ kind = 'reserved', now = now })
end
return '{"kind":"mismatch"}'
`,
);

export const submit = writing(
  "submit",
  `${takeKey}
local id, tenant, model, created_at, key_hash = unpack(ARGV)
if redis.call('EXISTS', key_batch(id)) == 1 then return '{"kind":"exists"}' end
if key_hash ~= '' and not take_key(key_hash, id) then return '{"kind":"mismatch"}' end
redis.call('HSET', key_batch(id), 'status', 'validating', 'epoch', redis.call('HGET', KEYS[1], 'epoch'), unpack(ARGV, 6))
redis.call('ZADD', key_list(tenant), created_at, id)
redis.call('ZADD', key_open(), created_at, id)
redis.call('ZADD', key_busy(tenant), 'NX', now, id)
redis.call('SADD', key_models(), model)
return '{"kind":"created"}'
`,
);
