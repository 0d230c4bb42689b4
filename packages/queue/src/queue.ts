/**
 * The door's words: every step of a batch's life that Redis decides, with its answers. Owns the interface only; the laws stand in the scripts.
 * A step that changes something throws CodedError `service_unavailable` while Redis is away or not believed (it was lost and isn't rebuilt yet), `not_found`
 * never: an id without a record answers `gone` (its truth is in S3). So does a reading whose silence would be taken for there being nothing.
 */
import type {
  After,
  BatchOutcome,
  BatchRequest,
  Control,
  End,
  LineError,
  PartChoice,
  Quotas,
  RecordStatus,
  Tally,
} from "@flamboyance/contracts";
import type { Consumer, ConsumeOptions, Handler } from "./consume.ts";
import type { JobKind } from "./jobs.ts";
import type { Rebuild } from "./rebuild.ts";
import type { BatchRecord } from "./record.ts";

/** The id has no record: never submitted, or known to S3 alone. */
export interface Gone {
  readonly kind: "gone";
}

export interface Reservation {
  readonly tenant: string;
  readonly bodyHash: string;
  readonly idempotencyKey?: string;
  readonly retry?: boolean;
}

export type SubmitAnswer = "created" | "exists";

export type NumberAnswer =
  | { readonly kind: "taken"; readonly number: number }
  | { readonly kind: "conflict"; readonly status: RecordStatus }
  | Gone;

export type CancelAnswer =
  | { readonly kind: "cancelling"; readonly status: RecordStatus }
  /** Sealed or ended without this cancel. */
  | { readonly kind: "conflict"; readonly status: RecordStatus }
  | Gone;

/** Of pause, resume, priority and deadline. `status` is what holds now, which a later step may have changed. */
export type ControlAnswer =
  /** It holds, or did when this control came first; also where it was so already. */
  | { readonly kind: "applied"; readonly status: RecordStatus }
  /** A later number was applied before: this one changes nothing, as if it had come in its turn. */
  | { readonly kind: "superseded"; readonly status: RecordStatus }
  /** The status doesn't allow it. */
  | { readonly kind: "conflict"; readonly status: RecordStatus }
  | Gone;

export type ClaimPlanAnswer =
  /**
   * `suspect`: the last claimant died over it. It must be planned with nothing else in its process, and what is touched noted before, but for what is `convicted`
   * (in the notes' words): that ended three processes, and must not be touched.
   */
  | { readonly kind: "run"; readonly suspect: boolean; readonly convicted: readonly string[] }
  /** Nothing to plan any more: adopted, cancelled, expired or sealed. The job is done. */
  | { readonly kind: "stopped"; readonly status: RecordStatus }
  | Gone;

export type ClaimFinalizeAnswer =
  /** Sealed: write the seals/ object, pass the fence, write final/ and end.json. */
  | { readonly kind: "run"; readonly record: BatchRecord }
  /** Ended, but what follows the end isn't done. */
  | { readonly kind: "settle"; readonly record: BatchRecord }
  /** Nothing to finalize (yet, or any more). The job is done. */
  | { readonly kind: "stopped"; readonly status: RecordStatus }
  | Gone;

/** The tenant has as much as it may: `have` without the batch in question. */
export interface OverQuota<Quota extends keyof Quotas = keyof Quotas> {
  readonly kind: "over";
  readonly quota: Quota;
  readonly have: number;
  readonly most: number;
}

export type AdmitAnswer = { readonly kind: "admitted" } | OverQuota;

/** What a plan brings; the batch itself was counted at its submit. */
export type PlannedQuota = Exclude<keyof Quotas, "running_batches">;

export type AdoptAnswer =
  /** `sealed` where the plan has no chunks: the batch is finalizing already. */
  | { readonly kind: "adopted"; readonly sealed: boolean }
  /** Another plan was adopted, or the batch isn't validating any more. Leave the folder: the sweep has it. */
  | { readonly kind: "lost"; readonly status: RecordStatus }
  /** With this plan's items the tenant would have more queued than it may, or with its bytes more stored: refuse the plan. */
  | OverQuota<PlannedQuota>
  | Gone;

export type SealAnswer =
  /** The batch is finalizing as `outcome` under this seal; its finalize job is added. */
  | { readonly kind: "sealed"; readonly outcome: BatchOutcome }
  /** Another seal came first. */
  | { readonly kind: "lost"; readonly seal: string; readonly outcome: BatchOutcome }
  /** Cancelling or expiring, and running chunks still hand in their parts. */
  | { readonly kind: "waiting"; readonly running: number; readonly leftMs: number }
  /** The outcome's ground doesn't hold in this status. */
  | { readonly kind: "refused"; readonly status: RecordStatus }
  | Gone;

export type ClaimAnswer =
  /**
   * `suspect`: the last claimant died over this chunk. It must run with no other chunk in its process, one item at a time, each noted before it runs, but for those
   * that are `quarantined` (items of the batch, by number): they ended three processes, and get an error.
   */
  | {
      readonly kind: "run";
      readonly plan: string;
      readonly expiresAt: number;
      readonly suspect: boolean;
      readonly quarantined: readonly number[];
    }
  /** Paused: the chunk is taken back and will be handed out again. The job is done. */
  | { readonly kind: "parked" }
  /** Cancelling or expiring: no chunk starts any more. The job is done. */
  | { readonly kind: "stopped" }
  /** The chunk has its part. The job is done. */
  | { readonly kind: "recorded" }
  | { readonly kind: "sealed" }
  /** The chunk was handed out again under a later number: that job runs it, this one is done. */
  | { readonly kind: "superseded" }
  | Gone;

export type RecordAnswer =
  /** `last`: every chunk has its part now; the caller seals. */
  | { readonly kind: "recorded"; readonly last: boolean }
  /** `not_cut`: a cut part, but the batch is neither cancelling nor expiring; the chunk must run whole. */
  | { readonly kind: "refused"; readonly reason: "sealed" | "has_part" | "other_plan" | "not_cut" | "no_such_chunk" | "gone" };

export type FenceAnswer = { readonly kind: "sealed" } | { readonly kind: "refused"; readonly status: RecordStatus } | Gone;

export type EndAnswer =
  | { readonly kind: "ended"; readonly status: BatchOutcome }
  | { readonly kind: "refused"; readonly status: RecordStatus }
  | Gone;

export type StartDeleteAnswer =
  | { readonly kind: "started" }
  | { readonly kind: "refused"; readonly status: RecordStatus }
  /** A retry of its lineage has no plan yet, which is copied from this batch's, or is being written. */
  | { readonly kind: "retried" };

export type ExpireAnswer =
  | { readonly kind: "expiring" }
  | { readonly kind: "not_due"; readonly leftMs: number }
  | { readonly kind: "refused"; readonly status: RecordStatus }
  | Gone;

/** Why a running chunk should be cut short or given up. */
export type StopReason = "cancelling" | "expiring" | "sealed" | "gone";

/** A part that no confirmed frontier object names yet. */
export interface UnconfirmedPart {
  readonly chunk: number;
  readonly part: PartChoice;
  readonly tally: Tally;
}

export interface LiveModel {
  readonly key: string;
  readonly slots: number;
  readonly workers: number;
  /** Of all of them together: those that ran lately as measured, the others taken for as fast. Null where none did. */
  readonly itemsPerSecond: number | null;
}

export interface Depth {
  readonly kind: JobKind;
  /** The chunk queue's model key. */
  readonly model?: string;
  /** Jobs that wait, for a slot or for their retry. */
  readonly ready: number;
  readonly running: number;
}

/** Batches of one model in one status. */
export interface OpenCount {
  readonly model: string;
  readonly status: RecordStatus;
  readonly count: number;
}

/** What one look at a batch mended. */
export type Repair =
  | { readonly kind: "plan_job" }
  | { readonly kind: "finalize_job" }
  | { readonly kind: "chunks_again"; readonly chunks: readonly number[] }
  | { readonly kind: "chunks_taken_back"; readonly chunks: readonly number[] }
  /** It had chunks to hand out, and no turn came to it any more. */
  | { readonly kind: "turn" }
  | { readonly kind: "expiring" }
  | { readonly kind: "sealed"; readonly outcome: BatchOutcome };

/** Held by one process at a time; it ends by itself `ttlMs` after the last renewal. */
export interface Lease {
  readonly name: string;
  /** False where it was lost: stop what it protects. */
  renew(): Promise<boolean>;
  release(): Promise<void>;
}

export interface Queue {
  // Submit, list, control: the api
  /**
   * The id to submit under. With a key: derived from tenant, key and body; same key, other body within a day: throws `idempotency_mismatch`.
   * Without one, `retry` (the client says that it repeats itself) gives the id of the same tenant and body of the last ten minutes.
   * `known`: the id may have been here before; look for its record and its batch.json before writing. `now`: seconds of the clock that deadlines are judged by.
   */
  reserve(reservation: Reservation): Promise<{ id: string; known: boolean; now: number }>;
  /**
   * The id that `reserve` may have given for the same before, and would give again; null where it would be a new one. With a key that is its id whether or not
   * Redis knows the key: S3 may. Takes nothing; throws as `reserve` does.
   */
  reserved(reservation: Reservation): Promise<string | null>;
  /**
   * Takes, for a minute, the id of a lineage's next retry (`retryId` of its last batch) for one request. Several callers with the same `token` (a hash of the
   * request) hold it together; null where another one, or a delete in the lineage, is under way. `now` as `reserve`'s.
   */
  reserveRetry(retry: { id: string; token: string }): Promise<{ now: number } | null>;
  /** Takes the batch in among the tenant's, where its quotas have room: once its id is known, before anything is written. Safe to repeat. */
  admit(batch: { tenant: string; id: string; quotas: Quotas }): Promise<AdmitAnswer>;
  /** What the tenant has of each now. */
  quotaUse(tenant: string): Promise<Record<keyof Quotas, number>>;
  /** After batch.json and the open/ marker stand: the record (`validating`), its place in the list, the plan job. */
  submit(request: BatchRequest): Promise<SubmitAnswer>;
  /** First half of a control step: take a number, then write control/<number>-<ulid>.json, then apply. */
  takeNumber(control: { id: string; kind: Control["kind"] }): Promise<NumberAnswer>;
  /** Second half. Idempotent while the batch runs; a batch that was sealed otherwise answers `conflict`. */
  applyCancel(control: { id: string; number: number }): Promise<CancelAnswer>;
  /** Second half, in the order of the numbers. While paused, running chunks finish, no other starts, and the deadline's clock goes on. */
  applyPause(control: { id: string; number: number }): Promise<ControlAnswer>;
  /** Second half, in the order of the numbers. `lifts`: `max_failed` pauses the batch no more. The caller dispatches. */
  applyResume(control: { id: string; number: number; lifts?: boolean }): Promise<ControlAnswer>;
  /** Second half; that of the highest number holds. It orders what is handed out from now on. */
  applyPriority(control: { id: string; number: number; priority: number }): Promise<ControlAnswer>;
  /** Second half; that of the highest number holds. The caller refuses a deadline that has passed. */
  applyDeadline(control: { id: string; number: number; completionWindow: string; expiresAt: number }): Promise<ControlAnswer>;
  /** Where Redis isn't believed only rows of settled batches are given. */
  batch(id: string): Promise<BatchRecord | null>;
  /** Newest first. `after` is an id of the same list: throws `invalid_cursor` for another. */
  batches(page: { tenant: string; after?: string; limit: number }): Promise<{ records: BatchRecord[]; hasMore: boolean }>;
  /** Whether `who` may call once more: the milliseconds to wait, 0 for now. `burst`: so many calls at once, then `perSecond`. Holds without the sentinel. */
  allowCall(call: { who: string; perSecond: number; burst: number }): Promise<number>;
  liveModels(): Promise<LiveModel[]>;
  /** Every model key that a batch or a worker named: those to dispatch for, and to look after. */
  models(): Promise<string[]>;

  // Plan
  /** The worker plans batches, whatever models it serves, for so long. */
  announcePlanner(worker: string, ttlMs: number): Promise<void>;
  /** `attempt`: a fresh ULID in lower case. */
  claimPlan(claim: { id: string; attempt: string; worker: string }): Promise<ClaimPlanAnswer>;
  /** What a suspect plan touches next, in words of the caller's; null: nothing. False where the claim is another's by now: nothing more of it may be touched. */
  notePlan(note: { id: string; attempt: string; what: string | null }): Promise<boolean>;
  /** The claim ends, by a graceful hand-back or a fault that passes: what comes next is charged to nobody. */
  releasePlan(claim: { id: string; attempt: string }): Promise<void>;
  adoptPlan(plan: {
    id: string;
    plan: string;
    items: number;
    chunks: number;
    refused: number;
    /** Of the plan's files; 0. */
    storedBytes?: number;
    /** The tenant's: what the plan brings must fit in. */
    quotas?: Quotas | undefined;
  }): Promise<AdoptAnswer>;
  /** Seals as failed; only from validating. At most `limits.errorsShown` errors are kept. */
  refusePlan(refusal: { id: string; errors: readonly LineError[] }): Promise<SealAnswer>;

  // Chunks
  announce(worker: { worker: string; model: string; slots: number; itemsPerSecond?: number | null }, ttlMs: number): Promise<void>;
  /** The worker serves this model no more; without a model: none, and it plans no more. */
  withdraw(worker: string, model?: string): Promise<void>;
  /** Fills the model's queue up to its target, tenants by their weights, a tenant's batches by priority, then age; answers how many chunks it handed out. */
  dispatch(model: string): Promise<number>;
  /** `attempt`: a fresh ULID in lower case (`newUlid`). `dispatch`: the job's number. */
  claim(claim: { id: string; chunk: number; attempt: string; dispatch: number; worker: string }): Promise<ClaimAnswer>;
  /** The item of a suspect chunk that runs next; null: none. False where the claim is another's by now: nothing more of it may run. */
  note(note: { id: string; chunk: number; attempt: string; item: number | null }): Promise<boolean>;
  /** A graceful hand-back: the claim ends, the chunk stays handed out. The handler then answers `hand_back`. */
  release(claim: { id: string; chunk: number; attempt: string }): Promise<void>;
  record(part: { id: string; chunk: number; plan: string; attempt: string; cut: boolean; tally: Tally }): Promise<RecordAnswer>;
  /** Those of the batches whose running chunks should stop, with why. */
  stopping(ids: readonly string[]): Promise<Map<string, StopReason>>;

  // The end
  claimFinalize(id: string): Promise<ClaimFinalizeAnswer>;
  expire(id: string): Promise<ExpireAnswer>;
  /** `completed`: all recorded; ends as cancelled from cancelling, as expired from expiring. The others only from their own status, once quiet. */
  seal(seal: { id: string; seal: string; outcome: "completed" | "cancelled" | "expired" }): Promise<SealAnswer>;
  /** The finalizer's fence: after its seals/ object stands, before it writes final/. */
  sealed(seal: { id: string; seal: string }): Promise<FenceAnswer>;
  /** end.json stands. */
  end(end: { id: string; end: End }): Promise<EndAnswer>;
  /** Reconcile found end.json though Redis says otherwise: it is the truth, whatever seal the record has. */
  copyEnd(end: { id: string; end: End }): Promise<EndAnswer>;
  /** What follows the end is done: a small row stays, and the batch waits for its sweep. */
  settle(settlement: { id: string; after: After }): Promise<EndAnswer>;
  /** One per chunk, in order; null where the chunk has no part (yet). Empty once settled. `count` defaults to all. */
  parts(range: { id: string; from?: number; count?: number }): Promise<(PartChoice | null)[]>;
  /** The recorded parts between `confirmed` and `frontier`, at most `limit` (10,000): what the next frontier object adds. */
  unconfirmedParts(id: string, limit?: number): Promise<UnconfirmedPart[]>;
  /** frontier/<epoch>-<chunks>.json stands and names the first `chunks` parts. False where the record's epoch is another or the parts aren't there. */
  confirmFrontier(frontier: { id: string; epoch: number; chunks: number }): Promise<boolean>;

  // Repair
  /** The sentinel's epoch; null where this Redis isn't believed: the sentinel is missing, or names another run of the server. Then it is to be rebuilt. */
  believed(): Promise<number | null>;
  /** Takes the lease under which Redis is made to be believed again, or a batch is rebuilt alone; null where another has it. */
  beginRebuild(ttlMs: number): Promise<Rebuild | null>;
  /** After a rebuild: behind which id ended batches are still to be listed again, an empty text for all; null where they are. */
  relistAfter(): Promise<string | null>;
  /** Batches that aren't settled, in no order, read page by page; one may come twice. */
  openBatches(): AsyncIterable<string>;
  /** Mends what Redis alone can mend of one batch: lost jobs, missed seals and deadlines. */
  repair(id: string): Promise<Repair[]>;
  /**
   * BullMQ puts a failed job off by the clock of its process, and takes it up by those of the others. What by Redis's clock is put off further than any backoff goes,
   * or is overdue (the others' clocks are behind, or all are busy), waits no longer. How many were put off so.
   */
  promoteDelayed(signal: AbortSignal): Promise<number>;
  /** Settled batches whose left-overs in S3 are still to be swept, and that nobody looked at for `ageMs`: at most `limit`, the longest wait first. */
  sweepable(due: { ageMs: number; limit: number }): Promise<string[]>;
  /** A look is over: `again` after another `ageMs`, or never more. */
  swept(look: { id: string; again: boolean }): Promise<void>;
  /**
   * Before deleted.json is written: the sweep will look, whatever becomes of this process. Refused where the record hasn't ended. `newest` of its lineage, and the
   * `next` id there: until `forgetDeleted`, or for a minute, no retry takes it.
   */
  startDelete(batch: { id: string; newest?: string; next?: string }): Promise<StartDeleteAnswer>;
  /** deleted.json stands: the record and its place in the lists go. */
  forgetDeleted(batch: { id: string; tenant: string; next?: string }): Promise<void>;
  /** Settled batches that ended before this second, the oldest first. */
  keptTooLong(due: { beforeSeconds: number; limit: number }): Promise<string[]>;
  lease(name: string, ttlMs: number): Promise<Lease | null>;

  // Jobs
  consume(options: ConsumeOptions, handler: Handler): Consumer;
  depths(): Promise<Depth[]>;
  /** How many of the batches that aren't settled are in each status, by their model's key. */
  openCounts(): Promise<readonly OpenCount[]>;
  /** Unix seconds by Redis's clock, which alone says what has passed: a process's own may be days off. */
  now(): Promise<number>;
  /** Whether Redis answers, believed or not. */
  ping(): Promise<boolean>;
  close(): Promise<void>;
}
