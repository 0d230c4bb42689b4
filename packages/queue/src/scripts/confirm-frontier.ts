/**
 * confirmFrontier(id, epoch, chunks): frontier/<epoch>-<chunks>.json stands and names the first `chunks` parts; readers may see them. Called by the worker
 *   that wrote it. → confirmed | refused: after a rebuild an object of an earlier epoch isn't believed, so no reader may rely on it.
 */
import { writing } from "./prelude.ts";

export const confirmFrontier = writing(
  "confirmFrontier",
  `
local id, epoch, chunks = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local record = record_of(id, 'epoch', 'frontier', 'confirmed')
if not record.status then return gone end
if number_of(record.epoch) ~= epoch or chunks > number_of(record.frontier) then return '{"kind":"refused"}' end
local confirmed = number_of(record.confirmed)
if chunks > confirmed then
  redis.call('HSET', key_batch(id), 'confirmed', chunks)
  for chunk = confirmed, chunks - 1 do redis.call('HDEL', key_tallies(id), chunk) end
end
return '{"kind":"confirmed"}'
`,
);
