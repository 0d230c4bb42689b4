/** Opens the queue on one Redis. */
import type { Queue } from "./queue.ts";

export interface QueueOptions {
  readonly url: string;
  /** Every key begins with it. Default `flamboyance`. */
  readonly prefix?: string;
  readonly signal?: AbortSignal;
  /** How long a job stays with a silent consumer. The same in every process. Default 30 s. */
  readonly lockMs?: number;
  /** How often silent consumers are looked for. The same in every process. Default 15 s. */
  readonly stalledIntervalMs?: number;
  /** How long a seal waits for running chunks after a cancel or the deadline. Default 60 s. */
  readonly quietMs?: number;
  /** How long a chunk may be handed out without a job before it is handed out again. Default 30 s. */
  readonly graceMs?: number;
  /** How often the sentinel is compared. Default 2 s. */
  readonly sentinelIntervalMs?: number;
}

/** Connects; throws CodedError `service_unavailable` where Redis doesn't answer. */
export declare function openQueue(options: QueueOptions): Promise<Queue>;
