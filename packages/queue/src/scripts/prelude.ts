/**
 * What every script begins with: the keys (layout.ts), Redis's clock, reading a record, a chunk's hand-out and its part, turns (turns.ts), what failures a batch bears (failures.ts),
 * what its tenant has under way (quotas.ts), and the one way to close a batch.
 * A writing script is refused while this Redis isn't believed: the sentinel is missing, or names another run of the server, which may have known more.
 * Scripts look for themselves, at each call: no connection can come back so fast that a command slips through. Scripts answer JSON; `kind` says which answer it is.
 *
 * The texts stand in .ts files, one a script, so that `tsc -b` alone carries them to dist and nothing is read from disk at run time.
 */
import { createHash } from "node:crypto";
import { keysInLua, partBytes, partFlags } from "../layout.ts";
import { failuresInLua } from "./failures.ts";
import { quotasInLua } from "./quotas.ts";
import { turnsInLua } from "./turns.ts";

export interface Script {
  readonly name: string;
  readonly text: string;
  readonly sha1: string;
}

const prelude = `
${keysInLua()}
local time = redis.call('TIME')
local now = tonumber(time[1])
local now_ms = now * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Another one after every start, and on every replica that is promoted.
local function run_id() return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') end
local function is_believed() return redis.call('HGET', KEYS[1], 'run_id') == run_id() end

local function answer(value) return cjson.encode(value) end
local gone = '{"kind":"gone"}'

-- The record's named fields; a missing one is false. Without a status there is no record.
local function record_of(id, ...)
  local values = redis.call('HMGET', key_batch(id), 'status', ...)
  local record = { status = values[1] }
  for index, name in ipairs({...}) do record[name] = values[index + 1] end
  return record
end

local function number_of(value) return tonumber(value or 0) end

local function is_ended(status)
  return status == 'completed' or status == 'failed' or status == 'expired' or status == 'cancelled'
end

local function is_sealed(status) return status == 'finalizing' or is_ended(status) end

-- Cancelling or expiring: chunks are cut, no new one starts.
local function is_stopping(status) return status == 'cancelling' or status == 'expiring' end

-- A chunk's part: its flags (0 where it has none) and its attempt's 16 bytes.
local function part_of(id, chunk)
  local bytes = redis.call('GETRANGE', key_parts(id), chunk * ${partBytes}, chunk * ${partBytes} + ${partBytes - 1})
  if #bytes < ${partBytes} then return 0, '' end
  return string.byte(bytes, 1), string.sub(bytes, 2)
end

-- The first chunk from this one on that has no part; with a limit, at most so many further on.
local function first_without_part(id, chunk, limit)
  local last = limit and chunk + limit
  while part_of(id, chunk) ~= 0 do
    local stretch = redis.call('GETRANGE', key_parts(id), chunk * ${partBytes}, (chunk + 1024) * ${partBytes} - 1)
    local ahead = 0
    while (string.byte(stretch, ahead * ${partBytes} + 1) or 0) ~= 0 do ahead = ahead + 1 end
    chunk = chunk + ahead
    if last and chunk >= last then return last end
  end
  return chunk
end

-- A chunk's hand-out, or nil.
local function out_of(id, chunk)
  local entry = redis.call('HGET', key_out(id), chunk)
  if not entry then return nil end
  local dispatch, at, attempt, claimed, worker = string.match(entry, '^(%d+) (%d+) (%S+) (%d+) (.*)$')
  return { dispatch = tonumber(dispatch), at = tonumber(at), attempt = attempt, claimed = tonumber(claimed), worker = worker }
end

local function put_out(id, chunk, entry)
  local text = string.format('%d %d %s %d %s', entry.dispatch, entry.at, entry.attempt or '-', entry.claimed or 0, entry.worker or '-')
  redis.call('HSET', key_out(id), chunk, text)
end

-- Whether the worker says that it serves the model; a dead one says nothing.
local function is_serving(model, worker)
  local expires_ms = string.match(redis.call('HGET', key_serving(model), worker) or '', '^(%d+) ')
  return expires_ms ~= nil and tonumber(expires_ms) > now_ms
end

-- Whether the worker says that it plans batches.
local function is_planning(worker)
  local expires_ms = worker and redis.call('ZSCORE', key_planners(), worker)
  return expires_ms and tonumber(expires_ms) > now_ms
end

-- Chunks that an attempt runs just now.
local function claimed_count(id)
  local count = 0
  for index, entry in ipairs(redis.call('HVALS', key_out(id))) do
    if not string.find(entry, '^%d+ %d+ %- ') then count = count + 1 end
  end
  return count
end

-- Answers how many were there: 0 or 1.
local function take_from_ready(model, id, chunk) return redis.call('ZREM', key_ready(model), id .. '-' .. chunk) end
${turnsInLua}
${failuresInLua}
${quotasInLua}
-- No chunk of this batch is handed out any more.
local function forget_chunks(id, model)
  local unclaimed = 0
  for index, chunk in ipairs(redis.call('HKEYS', key_out(id))) do unclaimed = unclaimed + take_from_ready(model, id, chunk) end
  if unclaimed > 0 then give_turns_back(id, unclaimed) end
  redis.call('DEL', key_out(id), key_back(id), key_tallies(id), key_suspects(id), key_deaths(id), key_planning(id))
  leave_turns(id)
end

-- The seal: outcome and parts are fixed from here on. The caller has tested the ground.
local function close_batch(id, model, seal, outcome)
  redis.call('HSET', key_batch(id), 'status', 'finalizing', 'seal', seal, 'outcome', outcome, 'finalizing_at', now)
  forget_chunks(id, model)
end
`;

const guard = `
if not is_believed() then return '{"kind":"unavailable"}' end
`;

/** A script that changes something of a batch, or whose silence would be taken for there being none: refused while this Redis isn't believed. */
export function writing(name: string, body: string): Script {
  return built(name, prelude + guard + body);
}

/** A script that only reads, or touches nothing of a batch. */
export function unguarded(name: string, body: string): Script {
  return built(name, prelude + body);
}

/** The flag of a part, in Lua: `flag_has`, `flag_cut`, `flag_last`. */
export const flagsInLua = Object.entries(partFlags)
  .map(([name, value]) => `local flag_${name} = ${value}`)
  .join("\n");

function built(name: string, text: string): Script {
  return { name, text, sha1: createHash("sha1").update(text).digest("hex") };
}
