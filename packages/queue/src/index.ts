/** The door of queue: all that is in Redis. */
export { JobAborted, type Consumer, type ConsumeOptions, type Handler } from "./consume.ts";
export type { Job, JobKind } from "./jobs.ts";
export { redisOf, redisVariables } from "./environment.ts";
export { retryId } from "./batches.ts";
export { eraseQueue } from "./erase.ts";
export { openQueue, type QueueOptions } from "./open.ts";
export type {
  AdmitAnswer,
  AdoptAnswer,
  CancelAnswer,
  ClaimAnswer,
  ClaimFinalizeAnswer,
  ClaimPlanAnswer,
  ControlAnswer,
  Depth,
  EndAnswer,
  ExpireAnswer,
  FenceAnswer,
  Gone,
  Lease,
  LiveModel,
  NumberAnswer,
  OpenCount,
  OverQuota,
  PlannedQuota,
  Queue,
  RecordAnswer,
  Repair,
  SealAnswer,
  StopReason,
  SubmitAnswer,
  UnconfirmedPart,
} from "./queue.ts";
export type { EndedState, OpenState, Rebuild } from "./rebuild.ts";
export type { BatchRecord } from "./record.ts";
export { replayControls, type ControlEntry, type ReplayedControls } from "./replay.ts";
export { legalStatuses } from "./scripts/control.ts";
export { isUlid, newUlid } from "./ulid.ts";
