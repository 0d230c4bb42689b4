/**
 * page(tenant, after or '', count): the tenant's ids behind `after`, the newest first. Called by the api. → { kind: page, ids } | unknown (`after` isn't in the list)
 *   Refused as a writing script is: a list that is being rebuilt isn't an empty one.
 *   One script, so that a submit between the look for the place and the reading moves nothing.
 */
import { writing } from "./prelude.ts";

export const page = writing(
  "page",
  `
local tenant, after, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local first = 0
if after ~= '' then
  local rank = redis.call('ZREVRANK', key_list(tenant), after)
  if not rank then return '{"kind":"unknown"}' end
  first = rank + 1
end
local ids = redis.call('ZRANGE', key_list(tenant), first, first + count - 1, 'REV')
if #ids == 0 then return '{"kind":"page","ids":[]}' end
return answer({ kind = 'page', ids = ids })
`,
);
