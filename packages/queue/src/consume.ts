/**
 * Takes jobs and gives them to a handler: BullMQ's worker with our rules. Owns locks, retries and the hand-back at shutdown.
 * Refuses to spend an attempt on a shutdown: a job in hand then goes back to the head of its queue.
 */
import { CodedError } from "@flamboyance/contracts";
import { Worker, WaitingError, type Job as BullJob } from "bullmq";
import type { Redis } from "ioredis";
import { parseJobId, queueName, type Job } from "./jobs.ts";

export type ConsumeOptions =
  | { readonly kind: "plan" | "finalize"; readonly concurrency: number; readonly signal?: AbortSignal }
  | { readonly kind: "chunk"; readonly model: string; readonly concurrency: number; readonly signal?: AbortSignal };

/**
 * `done` removes the job; `hand_back` puts it back at no cost for another consumer; a throw tries it again after a capped backoff, without end
 * (the batch's deadline is the end). The signal aborts with a JobAborted: the consumer closes, or the job's lock was lost and another has it.
 */
export type Handler = (job: Job, signal: AbortSignal) => Promise<"done" | "hand_back">;

export interface Consumer {
  /** Jobs in the handler's hands now. */
  running(): number;
  /** Takes no more jobs; gives those running `drainMs` (default 0) to finish, then aborts their signals, and waits for their handlers. */
  close(options?: { drainMs?: number }): Promise<void>;
}

/** Why a handler's signal was aborted. */
export class JobAborted extends CodedError {
  readonly why: "shutdown" | "lock_lost";

  constructor(why: "shutdown" | "lock_lost") {
    super("aborted", why === "shutdown" ? "The consumer is closing." : "The job's lock was lost; another consumer has it.");
    this.why = why;
  }
}

export interface ConsumerSettings {
  readonly connection: Redis;
  readonly prefix: string;
  readonly lockMs: number;
  readonly stalledIntervalMs: number;
  readonly retryCapMs: number;
  /** Hears of what the consumer itself ran into: Redis away, a lock lost. */
  readonly onFault: (error: unknown) => void;
  readonly onClosed: () => void;
}

export function openConsumer(options: ConsumeOptions, handler: Handler, settings: ConsumerSettings): Consumer {
  // Not by their ids: a job that was lost and came back here is twice in hand until its first handler ends.
  const inHand = new Set<{ readonly controller: AbortController; readonly settled: Promise<unknown> }>();
  let closing: Promise<void> | null = null;

  // BullMQ hands a signal only to a function with three plainly declared parameters; it is what cancelJob below reaches.
  const process = async (job: BullJob, token: string | undefined, signal: AbortSignal | undefined): Promise<void> => {
    const jobId = job.id ?? "";
    const answer = closing === null ? await handle(jobId, signal) : "hand_back";
    if (answer === "done") return;
    await job.moveToWait(token);
    throw new WaitingError();
  };

  const handle = async (jobId: string, lockLost: AbortSignal | undefined): Promise<"done" | "hand_back"> => {
    const controller = new AbortController();
    const lose = (): void => controller.abort(new JobAborted("lock_lost"));
    lockLost?.addEventListener("abort", lose, { once: true });
    const work = handler(parseJobId(options.kind, jobId), controller.signal);
    const held = { controller, settled: Promise.allSettled([work]) };
    inHand.add(held);
    try {
      return await work;
    } catch (error) {
      // A handler that was told to stop may well throw: at a shutdown its job goes back unharmed.
      if (controller.signal.reason instanceof JobAborted && controller.signal.reason.why === "shutdown") return "hand_back";
      throw error;
    } finally {
      lockLost?.removeEventListener("abort", lose);
      inHand.delete(held);
    }
  };

  const worker = new Worker(queueName(options.kind, "model" in options ? options.model : undefined), process, {
    connection: settings.connection,
    prefix: settings.prefix,
    concurrency: options.concurrency,
    lockDuration: settings.lockMs,
    stalledInterval: settings.stalledIntervalMs,
    // A chunk whose consumers die is quarantine's matter, not BullMQ's; a failed job would only be added again.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    runRetryDelay: 1_000,
    settings: { backoffStrategy: (attempts) => backoffMs(attempts, settings.retryCapMs) },
  });
  worker.on("error", settings.onFault);
  worker.on("lockRenewalFailed", (jobIds) => {
    for (const jobId of jobIds) worker.cancelJob(jobId);
  });

  const shut = async (drainMs: number): Promise<void> => {
    await worker.pause(true);
    await Promise.race([settledAll(), passed(drainMs)]);
    for (const { controller } of inHand) controller.abort(new JobAborted("shutdown"));
    await settledAll();
    // With Redis away the hand-back waits for it; past the lock the job is anyone's, and who waits for this closing needn't.
    await Promise.race([worker.close(), passed(settings.lockMs)]);
  };
  const settledAll = (): Promise<unknown> => Promise.all([...inHand].map(({ settled }) => settled));
  const close = ({ drainMs = 0 }: { drainMs?: number } = {}): Promise<void> => (closing ??= shut(drainMs).finally(settings.onClosed));

  const onAbort = (): void => void close().catch(settings.onFault);
  if (options.signal?.aborted === true) onAbort();
  options.signal?.addEventListener("abort", onAbort, { once: true });

  return { running: () => inHand.size, close };
}

/** Doubles from half a second up to the cap, half of it by chance, so that many retries don't come at once. */
function backoffMs(attempts: number, capMs: number): number {
  const full = Math.min(capMs, 500 * 2 ** Math.min(attempts - 1, 16));
  return Math.round(full / 2 + (Math.random() * full) / 2);
}

function passed(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
