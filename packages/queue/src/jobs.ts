/** The BullMQ jobs: plan, chunk, finalize. Owns queue names, job ids, retries and locks; nothing else imports bullmq. */
export type JobKind = "plan" | "finalize" | "chunk";

/** A plan or finalize job names its batch; a chunk job its chunk and the number that it was handed out under as well. */
export interface Job {
  readonly id: string;
  readonly chunk: number;
  readonly dispatch: number;
}

export type ConsumeOptions =
  | { readonly kind: "plan" | "finalize"; readonly concurrency: number; readonly signal?: AbortSignal }
  | { readonly kind: "chunk"; readonly model: string; readonly concurrency: number; readonly signal?: AbortSignal };

/**
 * `done` removes the job; `hand_back` puts it back at no cost for another consumer; a throw tries it again after a capped backoff, without end
 * (the batch's deadline is the end). The signal aborts when the consumer closes or the job's lock was lost.
 */
export type Handler = (job: Job, signal: AbortSignal) => Promise<"done" | "hand_back">;

export interface Consumer {
  /** Jobs in the handler's hands now. */
  running(): number;
  /** Takes no more jobs; gives those running `drainMs` (default 0) to finish, then aborts their signals, and waits for their handlers. */
  close(options?: { drainMs?: number }): Promise<void>;
}
