/**
 * allowCall(who, perSecond, burst): whether one more call may come now (the generic cell rate algorithm: one time a caller, at which its calls so far would be paid off).
 *   Called by the api for each request. → waitMs, 0 where it may. It is no batch's, and holds without the sentinel.
 */
import { unguarded } from "./prelude.ts";

export const allowCall = unguarded(
  "allowCall",
  `
local key, interval, burst = key_rate(ARGV[1]), 1000 / tonumber(ARGV[2]), tonumber(ARGV[3])
local at_ms = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local paid = math.max(tonumber(redis.call('GET', key) or at_ms), at_ms) + interval
local wait = paid - burst * interval - at_ms
if wait > 0 then return answer({ waitMs = math.ceil(wait) }) end
redis.call('SET', key, string.format('%.3f', paid), 'PX', math.ceil(paid - at_ms) + 1)
return '{"waitMs":0}'
`,
);
