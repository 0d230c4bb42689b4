/** Batches as a caller uses them: submit, list, look, control, read results, wait for the end. */
import {
  batch,
  batchErrors,
  batchList,
  deletedBatch,
  dryRunReport,
  resultsPage,
  isEnded,
  type Batch,
  type BatchErrors,
  type BatchList,
  type Control,
  type CreateDatasetBatchInput,
  type DeletedBatch,
  type DryRunReport,
  type ResultLine,
  type ResultsPage,
} from "@flamboyance/contracts";
import { FlamboyanceError } from "./failure.ts";
import { pause, request, type Connection } from "./request.ts";

export interface Signalled {
  readonly signal?: AbortSignal | undefined;
}

export interface ResultsOptions extends Signalled {
  /** Only these lines. */
  readonly status?: "completed" | "failed";
  /** With the batch's retries that have ended: the newest line of each item. There is nothing to follow then. Default false. */
  readonly lineage?: boolean;
  /** Lines per call, 1 to 1,000. Default 500. */
  readonly limit?: number;
  /** The cursor that an earlier reader stopped at. */
  readonly after?: string;
  /** Waits for further lines while the batch runs, and ends with the batch. Without it, reading ends with what stands ready. */
  readonly follow?: boolean;
  /** Between two looks for further lines; default as `wait`'s. */
  readonly intervalMs?: number;
}

export interface WaitOptions extends Signalled {
  /** Told after every look at the batch, the first one at once. */
  readonly onProgress?: (batch: Batch) => void;
  /** Between two looks; default: 0.5 s, growing to 5 s while nothing changes. */
  readonly intervalMs?: number;
}

export interface Batches {
  /**
   * Submits a batch. Calls that get no answer are tried again under one idempotency key, so that no second batch comes of it;
   * give your own `idempotencyKey` to make the submit safe across processes too.
   */
  create(body: CreateDatasetBatchInput, options?: Signalled & { readonly idempotencyKey?: string }): Promise<Batch>;
  get(id: string, options?: Signalled): Promise<Batch>;
  /** One page, the newest first. `after` is the last id of the page before. */
  list(options?: Signalled & { readonly after?: string; readonly limit?: number }): Promise<BatchList>;
  /** Every batch, the newest first, page by page. */
  all(options?: Signalled): AsyncGenerator<Batch, void>;
  /** Stops the batch for good; what is done stays and can be read. */
  cancel(id: string, options?: Signalled): Promise<Batch>;
  /** What runs is finished, nothing further starts until `resume`, and the deadline stays. Rejects with `conflict` where the batch isn't in progress. */
  pause(id: string, options?: Signalled): Promise<Batch>;
  /** Lets a paused batch go on (one that its `max_failed` paused, without that limit from then on); one that is in progress does so anyway. */
  resume(id: string, options?: Signalled): Promise<Batch>;
  /** The batch's place among your own from now on: the highest first, then the oldest. Rejects with `conflict` where nothing of it is left to begin. */
  setPriority(id: string, priority: number, options?: Signalled): Promise<Batch>;
  /** Deletes an ended batch and its results for good; what was copied to its output stays. Rejects with `conflict` while it runs. */
  delete(id: string, options?: Signalled): Promise<DeletedBatch>;
  /** What a dry run found, once it has ended. Rejects with `conflict` before, and where the batch failed instead. */
  report(id: string, options?: Signalled): Promise<DryRunReport>;
  /** Until when the batch must be done, from its submit on, as `48h`. Rejects with `invalid_request` where that has passed, with `conflict` where the batch is being stopped or has ended. */
  setDeadline(id: string, completionWindow: string, options?: Signalled): Promise<Batch>;
  /**
   * A new batch over the failed items of an ended one (of those codes only, where some are given) and of its retries before. Tried again under one idempotency key, as
   * `create`. Rejects with `conflict` while the batch or a retry of it runs, and with `nothing_to_retry`.
   */
  retry(id: string, options?: Signalled & { readonly errorCodes?: readonly string[]; readonly idempotencyKey?: string }): Promise<Batch>;
  /** An ended batch's failed lines by cause, the most frequent first; with `lineage`, of it and its retries together. */
  errors(id: string, options?: Signalled & { readonly lineage?: boolean }): Promise<BatchErrors["data"]>;
  /** One page of results. `after` is `next` of the page before. */
  resultsPage(id: string, options?: Omit<ResultsOptions, "follow" | "intervalMs">): Promise<ResultsPage>;
  /** Result lines in the manifest's order, page by page, also while the batch runs. */
  results(id: string, options?: ResultsOptions): AsyncGenerator<ResultLine, void>;
  /** Resolves with the ended batch, whatever its outcome. Once it was seen, passing faults are waited out as long as the signal allows. */
  wait(id: string, options?: WaitOptions): Promise<Batch>;
}

export function batchesOf(connection: Connection): Batches {
  const path = (id: string, rest = "") => `/v1/batches/${encodeURIComponent(id)}${rest}`;
  const get: Batches["get"] = (id, { signal } = {}) => request(connection, { method: "GET", path: path(id), answer: batch, signal });
  const list: Batches["list"] = ({ after, limit, signal } = {}) =>
    request(connection, { method: "GET", path: "/v1/batches", query: { after, limit }, answer: batchList, signal });
  const page: Batches["resultsPage"] = (id, { status, limit, after, lineage, signal } = {}) => {
    const query = { status, limit, after, lineage: lineage === true ? "true" : undefined };
    return request(connection, { method: "GET", path: path(id, "/results"), query, answer: resultsPage, signal });
  };
  const control =
    (kind: Exclude<Control["kind"], "priority" | "deadline">): Batches["cancel"] =>
    (id, { signal } = {}) =>
      request(connection, { method: "POST", path: path(id, `/${kind}`), answer: batch, signal });

  return {
    get,
    list,
    resultsPage: page,
    create: (body, { idempotencyKey = crypto.randomUUID(), signal } = {}) =>
      request(connection, {
        method: "POST",
        path: "/v1/batches",
        body,
        headers: { "idempotency-key": idempotencyKey },
        answer: batch,
        signal,
      }),
    cancel: control("cancel"),
    pause: control("pause"),
    resume: control("resume"),
    setPriority: (id, priority, { signal } = {}) =>
      request(connection, { method: "POST", path: path(id, "/priority"), body: { priority }, answer: batch, signal }),
    delete: (id, { signal } = {}) => request(connection, { method: "DELETE", path: path(id), answer: deletedBatch, signal }),
    report: (id, { signal } = {}) => request(connection, { method: "GET", path: path(id, "/report"), answer: dryRunReport, signal }),
    setDeadline: (id, completionWindow, { signal } = {}) =>
      request(connection, {
        method: "POST",
        path: path(id, "/deadline"),
        body: { completion_window: completionWindow },
        answer: batch,
        signal,
      }),
    retry: (id, { errorCodes, idempotencyKey = crypto.randomUUID(), signal } = {}) =>
      request(connection, {
        method: "POST",
        path: path(id, "/retry"),
        body: errorCodes === undefined ? {} : { error_codes: errorCodes },
        headers: { "idempotency-key": idempotencyKey },
        answer: batch,
        signal,
      }),
    errors: async (id, { lineage, signal } = {}) => {
      const query = { lineage: lineage === true ? "true" : undefined };
      return (await request(connection, { method: "GET", path: path(id, "/errors"), query, answer: batchErrors, signal })).data;
    },
    all: (options) => allBatches(list, options),
    results: (id, options) => allResults(page, id, options),
    wait: (id, options) => untilEnded(get, id, options),
  };
}

async function* allBatches(list: Batches["list"], { signal }: Signalled = {}): AsyncGenerator<Batch, void> {
  let after: string | null = null;
  do {
    const page: BatchList = await list({ limit: 100, signal, ...(after === null ? {} : { after }) });
    yield* page.data;
    after = page.has_more ? page.last_id : null;
  } while (after !== null);
}

async function* allResults(
  page: Batches["resultsPage"],
  id: string,
  { follow = false, limit = 500, after, status, lineage = false, signal, intervalMs }: ResultsOptions = {},
): AsyncGenerator<ResultLine, void> {
  const idle = new Idleness();
  for (let cursor = after; ;) {
    const wanted = { ...(status === undefined ? {} : { status }), ...(cursor === undefined ? {} : { after: cursor }) };
    const options = { limit, lineage, signal, ...wanted };
    const { data, next, has_more: hasMore } = await page(id, options);
    yield* data;
    if (next === null || (!hasMore && !follow)) return;
    cursor = next;
    if (!hasMore) await pause(intervalMs ?? idle.pauseMs(data.length > 0), signal);
  }
}

async function untilEnded(get: Batches["get"], id: string, { signal, onProgress, intervalMs }: WaitOptions = {}): Promise<Batch> {
  const idle = new Idleness();
  // The first look must succeed: a wrong address is told at once. Later, nobody there is waited out; the batch goes on without us.
  let found = await get(id, { signal });
  for (let seen = ""; ;) {
    onProgress?.(found);
    if (isEnded(found.status)) return found;
    const look = JSON.stringify([found.status, found.request_counts]);
    await pause(intervalMs ?? idle.pauseMs(look !== seen), signal);
    seen = look;
    found = await lookAgain(get, found, { intervalMs: intervalMs ?? 2_000, signal });
  }
}

async function lookAgain(get: Batches["get"], { id }: Batch, { intervalMs, signal }: { intervalMs: number } & Signalled): Promise<Batch> {
  for (;;) {
    try {
      return await get(id, { signal });
    } catch (error) {
      if (!(error instanceof FlamboyanceError && error.retryable)) throw error;
    }
    await pause(intervalMs, signal);
  }
}

/** Pauses that grow while nothing comes. */
class Idleness {
  #quiet = 0;

  pauseMs(somethingCame: boolean): number {
    this.#quiet = somethingCame ? 0 : this.#quiet + 1;
    return Math.min(5_000, 500 * 1.5 ** this.#quiet);
  }
}
