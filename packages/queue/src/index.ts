/** The door of queue: all that is in Redis. */
export type { Consumer, ConsumeOptions, Handler, Job, JobKind } from "./jobs.ts";
export { openQueue, type QueueOptions } from "./open.ts";
export type {
  AdoptAnswer,
  CancelAnswer,
  ClaimAnswer,
  ClaimPlanAnswer,
  Depth,
  EndAnswer,
  ExpireAnswer,
  FenceAnswer,
  Gone,
  Lease,
  LiveModel,
  NumberAnswer,
  Queue,
  RecordAnswer,
  Repair,
  SealAnswer,
  StopReason,
  SubmitAnswer,
  UnconfirmedPart,
} from "./queue.ts";
export type { BatchRecord } from "./record.ts";
export { isUlid, newUlid } from "./ulid.ts";
