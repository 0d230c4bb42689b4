/**
 * Every key in Redis, in one place: TypeScript and the scripts both build their names from this table. One Redis (a primary with replicas), not a cluster:
 * a script touches keys of a batch, of its model and of its tenant at once.
 *
 * | key | type | what | bound | written by |
 * |---|---|---|---|---|
 * | sentinel | hash | `epoch`, `run_id`: this run of Redis is believed | 1 | believe |
 * | open | zset id → created_at | batches that aren't settled | open batches | submit, publish, settle, forgetDeleted |
 * | sweep | zset id → ms of its settling or last look | settled batches whose left-overs in S3 are still to be swept | batches of some hours | settle, publish, swept, startDelete, forgetDeleted |
 * | kept | zset id → the second of its end | settled batches, for retention | as `list` | settle, publish, forgetDeleted |
 * | relist | string id, or '' | after a rebuild: up to which batch, in the order of ids, those that ended are in their lists again | 1 | believe, relisted |
 * | models | set | model keys that a batch or a worker named | models | submit, announce |
 * | batch:ID | hash | the record: status, counts, times (record.ts) | about 1 KiB a batch | submit and all transitions |
 * | parts:ID | string | 17 bytes a chunk: flags (1 has a part, 2 cut, 4 the last one) and the attempt's ULID, packed | 17 B a chunk, until settled | record |
 * | out:ID | hash chunk → `dispatch handedOutMs attempt claimedMs worker` (`- 0 -` unclaimed) | chunks handed out | ready + running | dispatch, claim, release |
 * | back:ID | zset chunk → chunk | chunks taken back, to be handed out before new ones | ready + running | claim, repair |
 * | suspects:ID | hash chunk → the item that runs, `-` between two | chunks whose last claimant died over them: they run alone, item by item (claim.ts) | running, until the seal | claim, note, record |
 * | deaths:ID | hash item → how often its process died while it was the noted one; at three it is quarantined | items that ended a process | until the seal | claim |
 * | planning:ID | hash: `attempt`, `worker` (who plans it), `suspect`, `noted` (what it touches), `death WHAT` → how often its process died while that was noted | a plan that is under way, and whether it ended a process before (claim-plan.ts) | batches being planned, until the adoption or the seal | claimPlan, notePlan, releasePlan |
 * | tallies:ID | hash chunk → six numbers | what each part that isn't confirmed yet added | parts of some seconds | record, confirmFrontier |
 * | list:TENANT | zset id → created_at | the tenant's batches, as listed | batches until retention | submit, publish, forgetDeleted |
 * | busy:TENANT | zset id → its admission's time | the tenant's batches that haven't ended, and those that are being submitted (quotas.ts) | open batches | admit, submit, publish, end; whoever walks over them (quotas.ts) |
 * | stored:TENANT | hash id → bytes, and `sum` | what the tenant's ended batches keep in S3 until they are deleted, those that keep something (quotas.ts) | as `list` | end, publish, forgetDeleted |
 * | key:HASH | string id | an idempotency key's batch; expires after a day | keys of a day | reserve, submit |
 * | retry:HASH | string id | the batch that a tenant last asked for with this body; expires after ten minutes | requests of ten minutes | reserveAgain |
 * | next:ID | string token | the request that is being made the retry of this id, or the delete that keeps its lineage from one; expires after a minute | retries and deletes of a minute | reserveRetry, startDelete, forgetDeleted |
 * | plans | hash tenant → its last turn | when the tenants' last plans are, or were, to be made (plan-turn.ts); gone where none waits | tenants | planTurn |
 * | running:MODEL:TENANT | zset id → created_at − 10¹¹ × priority | the tenant's batches in progress that may have chunks to hand out, the next one first | open batches | adoptPlan, applyResume, applyPriority, dispatch |
 * | turns:MODEL | zset tenant → virtual time | tenants with batches in `running`, by when their next turn is (turns.ts) | tenants | adoptPlan, applyResume, dispatch |
 * | rested:MODEL | zset tenant → virtual time | tenants without, whose time is still to come | 2 × slots + 2 | dispatch, claim |
 * | clock:MODEL | string | the virtual time | 1 | adoptPlan, applyResume, claim |
 * | ready:MODEL | zset ID-CHUNK → virtual time of its turn | chunks handed out and not yet claimed | 2 × slots + 2 | dispatch, claim |
 * | serving:MODEL | hash worker → `expiresMs slots itemsPerSecond` (`-` unknown) | who serves the model | workers | announce |
 * | planners | zset worker → ms | who plans batches, until when it has said so | workers | announcePlanner |
 * | rate:KEY | string ms | when the key's calls so far are paid off; expires then | keys that called in the last seconds | allowCall |
 * | lease:NAME | string token | held by one process; expires by itself | names | lease |
 * | lease:rebuild | string `token run_id` | held by whoever makes Redis believed again, in this run of the server | 1 | begin |
 * | plan:…, finalize:…, chunk-MODEL:… | BullMQ's | the jobs; a job's hash `chunk-MODEL:ID-CHUNK-DISPATCH` exists as long as the job is alive | ready + running | jobs.ts |
 */
const names = {
  sentinel: "sentinel",
  open: "open",
  sweep: "sweep",
  kept: "kept",
  relist: "relist",
  models: "models",
  batch: "batch:",
  parts: "parts:",
  out: "out:",
  back: "back:",
  suspects: "suspects:",
  deaths: "deaths:",
  planning: "planning:",
  tallies: "tallies:",
  list: "list:",
  busy: "busy:",
  stored: "stored:",
  key: "key:",
  retry: "retry:",
  next: "next:",
  plans: "plans",
  running: "running:",
  turns: "turns:",
  rested: "rested:",
  clock: "clock:",
  ready: "ready:",
  serving: "serving:",
  planners: "planners",
  rate: "rate:",
  lease: "lease:",
} as const;

export type KeyName = keyof typeof names;

/** What a rebuild makes anew, by the words that keys begin with. All else stays: reservations, lists, what processes say of themselves. */
const rebuiltNames: readonly string[] = [
  ...(
    [
      "open",
      "batch",
      "parts",
      "out",
      "back",
      "suspects",
      "deaths",
      "planning",
      "tallies",
      "plans",
      "running",
      "turns",
      "rested",
      "clock",
      "ready",
      "busy",
    ] as const
  ).map((name) => names[name]),
  // BullMQ's jobs.
  "plan:",
  "finalize:",
  "chunk-",
];

/** Whether a rebuild makes the key anew. */
export function isRebuilt(prefix: string, key: string): boolean {
  return rebuiltNames.some((name) =>
    name.endsWith(":") || name.endsWith("-") ? key.startsWith(`${prefix}:${name}`) : key === `${prefix}:${name}`,
  );
}

/** Bytes that one chunk takes in `parts`: a flag byte and a packed ULID. */
export const partBytes = 17;

/** Flags of a part's first byte. */
export const partFlags = { has: 1, cut: 2, last: 4 } as const;

/** An item at whose noting so many processes died isn't tried again. */
export const deathsOfPoison = 3;

/** An idempotency key is remembered for a day. */
export const idempotencySeconds = 86_400;

/** A client's own retry is known by tenant and body for ten minutes. */
export const retrySeconds = 600;

/** Whoever writes the retry of a batch keeps others from it for a minute. */
export const retryOfSeconds = 60;

/** How long a batch counts that was admitted and has no record yet: then its submit has broken off. */
export const admittedSeconds = 60;

/** The key of one thing, as `flamboyance:batch:<id>`. */
export function keyOf(prefix: string, name: KeyName, owner = ""): string {
  return `${prefix}:${names[name]}${owner}`;
}

/** The same table in Lua: `prefix` from KEYS[1], which is always the sentinel, and one function a name: `key_batch(id)`. */
export function keysInLua(): string {
  const functions = Object.entries(names).map(
    ([name, text]) => `local function key_${name}(owner) return prefix .. ':${text}' .. (owner or '') end`,
  );
  return [`local prefix = string.sub(KEYS[1], 1, -#':${names.sentinel}' - 1)`, ...functions].join("\n");
}
