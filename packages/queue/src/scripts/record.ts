/**
 * record(id, chunk, plan, attempt's 16 bytes, cut 0|1, completed, failed, input, cached, output tokens, bytes): the chunk takes its part; first wins.
 *   Called by a worker after the part stands whole in S3. → recorded(last) | refused(reason)
 *   Whoever holds a part of the record's plan may record it, claimed or not: a stalled twin's bytes are as good. The tally is added in the same step,
 *   so counts are always the sum of the chosen parts (and the refused lines), and a batch of which too many failed is paused here (failures.ts). The same attempt again gets its first answer.
 */
import { flagsInLua, writing } from "./prelude.ts";
import { partBytes } from "../layout.ts";

export const record = writing(
  "record",
  `
${flagsInLua}
local id, chunk, plan, attempt, cut = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5] == '1'
local function refused(reason) return answer({ kind = 'refused', reason = reason }) end

local record = record_of(id, 'model', 'plan', 'chunks', 'recorded', 'frontier')
if not record.status then return refused('gone') end
if record.plan ~= plan then return refused('other_plan') end
local flags, holder = part_of(id, chunk)
if flags ~= 0 and holder == attempt then return answer({ kind = 'recorded', last = flags >= flag_last }) end
if is_sealed(record.status) then return refused('sealed') end
if flags ~= 0 then return refused('has_part') end
local chunks = number_of(record.chunks)
if chunk >= chunks then return refused('no_such_chunk') end
if cut and not is_stopping(record.status) then return refused('not_cut') end

local key = key_batch(id)
local recorded = redis.call('HINCRBY', key, 'recorded', 1)
local last = recorded == chunks
local byte = flag_has + (cut and flag_cut or 0) + (last and flag_last or 0)
redis.call('SETRANGE', key_parts(id), chunk * ${partBytes}, string.char(byte) .. attempt)
for index, name in ipairs({ 'completed', 'failed', 'input_tokens', 'cached_tokens', 'output_tokens', 'stored_bytes' }) do
  redis.call('HINCRBY', key, name, ARGV[5 + index])
end
redis.call('HSET', key_tallies(id), chunk, table.concat({ ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11] }, ' '))
redis.call('HDEL', key_out(id), chunk)
redis.call('HDEL', key_suspects(id), chunk)
redis.call('ZREM', key_back(id), chunk)
take_from_ready(record.model, id, chunk)

-- The frontier moves over the parts that stand without a gap; a bounded stretch at a time, the next record goes on.
redis.call('HSET', key, 'frontier', first_without_part(id, number_of(record.frontier), 1024))
pause_if_doomed(id)
return answer({ kind = 'recorded', last = last })
`,
);
