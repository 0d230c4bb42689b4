/** Routes of batches: submit, list, look, control, results. Each parses, asks, and shows; decisions lie in the files named after them. */
import type { IncomingHttpHeaders } from "node:http";
import {
  batch,
  batchErrors,
  batchList,
  completionWindow,
  createDatasetBatch,
  deletedBatch,
  dryRunReport,
  errorBody,
  errorTable,
  isErrorCode,
  limits,
  priority,
  resultsPage,
  retryBatch,
  shownStatus,
  type Batch,
  type Control,
} from "@flamboyance/contracts";
import type { FastifyRequest } from "fastify";
import type { FastifyPluginCallbackZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { callerOf } from "./authenticate.ts";
import { viewRecord, viewStored } from "./batch-view.ts";
import type { ApiContext } from "./context.ts";
import { conflict, controlBatch, followControl } from "./control.ts";
import { deleteBatch } from "./delete-batch.ts";
import { findBatch, type FoundBatch } from "./find-batch.ts";
import { countFailures, findLineage, withLines } from "./lineage.ts";
import { readReport } from "./report.ts";
import { readLineage, readResults } from "./results.ts";
import { encodeCursor } from "./results-cursor.ts";
import { retryBatch as retry } from "./retry.ts";
import { submitBatch } from "./submit.ts";

const failures = { "4xx": errorBody, "5xx": errorBody };
const batchPath = z.object({ id: z.string().max(limits.idCharacters) });
const writeTimeoutMs = 10_000;
const controls = [
  { kind: "cancel", summary: "Stop a batch; what is done stays and can be read." },
  { kind: "pause", summary: "Pause a batch: what runs is finished, nothing further starts, and the deadline stays." },
  { kind: "resume", summary: "Let a paused batch go on; one that its max_failed paused goes on without it." },
] as const;

export const batchRoutes: FastifyPluginCallbackZod<{ readonly context: ApiContext }> = (app, { context }, done) => {
  const { queue, bucket } = context;

  async function view(found: FoundBatch): Promise<Batch> {
    if (found.kind === "stored") return viewStored(found.request, found.end, found.after, bucket);
    return viewRecord(found.record, { bucket, servedModels: await servedModels() });
  }

  async function servedModels(): Promise<ReadonlySet<string>> {
    return new Set((await queue.liveModels()).map((model) => model.key));
  }

  async function controlled(request: FastifyRequest, id: string, asked: Control): Promise<Batch> {
    const { tenant } = callerOf(request);
    const found = await findBatch(context, tenant, id, request.waiting);
    if (found.kind === "stored") throw conflict(asked.kind, found.request.id, found.end.status);
    const lifts = asked.kind === "resume" && found.record.pausedReason !== null;
    const control: Control = lifts ? { kind: "resume", lifts: "max_failed" } : asked;
    await controlBatch(context, control, found.record, AbortSignal.timeout(writeTimeoutMs));
    const shown = await view(await findBatch(context, tenant, id, request.waiting));
    // The control stands and is answered for: what fails here is reconcile's.
    await followControl(queue, control, found.record).catch(() => {});
    return shown;
  }

  app.post(
    "/v1/batches",
    {
      config: { scope: "submit" },
      schema: {
        operationId: "createBatch",
        summary: "Submit a batch over a dataset.",
        tags: ["batches"],
        headers: idempotencyKey("For a day, the same key with the same body answers the same batch; with another body, 422."),
        body: createDatasetBatch,
        response: { 200: batch, ...failures },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { headers, body } = request;
      const submission = { caller, body, idempotencyKey: headers["idempotency-key"] ?? null, retry: isRepeated(request.raw.headers) };
      // A caller that hangs up doesn't stop a submit half-way.
      const id = await submitBatch(context, submission, AbortSignal.timeout(writeTimeoutMs));
      request.made = id;
      return view(await findBatch(context, caller.tenant, id, request.waiting));
    },
  );

  app.get(
    "/v1/batches",
    {
      config: { scope: "read" },
      schema: {
        operationId: "listBatches",
        summary: "Your batches, the newest first.",
        tags: ["batches"],
        querystring: z.strictObject({
          after: z.string().max(limits.idCharacters).optional().describe("The last id of the page before."),
          limit: z.coerce.number().int().min(1).max(limits.listPage).default(20),
        }),
        response: { 200: batchList, ...failures },
      },
    },
    async (request) => {
      const { after, limit } = request.query;
      const page = { tenant: callerOf(request).tenant, limit, ...(after === undefined ? {} : { after }) };
      const { records, hasMore } = await queue.batches(page);
      const served = await servedModels();
      const data = records.map((record) => viewRecord(record, { bucket, servedModels: served }));
      return { object: "list" as const, data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null, has_more: hasMore };
    },
  );

  app.get(
    "/v1/batches/:id",
    {
      config: { scope: "read" },
      schema: {
        operationId: "getBatch",
        summary: "One batch: status, counts, times.",
        tags: ["batches"],
        params: batchPath,
        response: { 200: batch, ...failures },
      },
    },
    async (request) => view(await findBatch(context, callerOf(request).tenant, request.params.id, request.waiting)),
  );

  app.delete(
    "/v1/batches/:id",
    {
      config: { scope: "control" },
      schema: {
        operationId: "deleteBatch",
        summary: "Delete an ended batch: its request, results and everything else of it. What was copied to `output` stays.",
        tags: ["batches"],
        params: batchPath,
        response: { 200: deletedBatch, ...failures },
      },
    },
    async (request) => {
      const { id } = request.params;
      // A caller that hangs up doesn't stop it half-way.
      await deleteBatch(context, callerOf(request).tenant, id, AbortSignal.timeout(writeTimeoutMs));
      return { id, object: "batch" as const, deleted: true as const };
    },
  );

  for (const { kind, summary } of controls) {
    app.post(
      `/v1/batches/:id/${kind}`,
      {
        config: { scope: "control" },
        schema: {
          operationId: `${kind}Batch`,
          summary,
          tags: ["batches"],
          params: batchPath,
          response: { 200: batch, ...failures },
        },
      },
      (request) => controlled(request, request.params.id, { kind }),
    );
  }

  app.post(
    "/v1/batches/:id/priority",
    {
      config: { scope: "control" },
      schema: {
        operationId: "setBatchPriority",
        summary: "Change a batch's place among yours: what is handed out from now on is of the highest priority first.",
        tags: ["batches"],
        params: batchPath,
        body: z.strictObject({ priority }),
        response: { 200: batch, ...failures },
      },
    },
    (request) => controlled(request, request.params.id, { kind: "priority", priority: request.body.priority }),
  );

  app.post(
    "/v1/batches/:id/retry",
    {
      config: { scope: "submit" },
      schema: {
        operationId: "retryBatch",
        summary: "Run the failed items of an ended batch again, as a new batch; its retries before count as one with it.",
        tags: ["batches"],
        params: batchPath,
        headers: idempotencyKey("The same key answers the same retry; with other error codes, 422."),
        body: retryBatch.nullish(),
        response: { 200: batch, ...failures },
      },
    },
    async (request) => {
      const { headers, params, body } = request;
      const caller = callerOf(request);
      const asked = { id: params.id, body: body ?? {}, idempotencyKey: headers["idempotency-key"] ?? null };
      const submission = { caller, ...asked, repeated: isRepeated(request.raw.headers) };
      // A caller that hangs up doesn't stop a submit half-way.
      const id = await retry(context, submission, AbortSignal.timeout(writeTimeoutMs));
      request.made = `${params.id} → ${id}`;
      return view(await findBatch(context, caller.tenant, id, request.waiting));
    },
  );

  app.post(
    "/v1/batches/:id/deadline",
    {
      config: { scope: "control" },
      schema: {
        operationId: "setBatchDeadline",
        summary: "Change until when a batch must be done, counted from its submit.",
        tags: ["batches"],
        params: batchPath,
        body: z.strictObject({ completion_window: completionWindow }),
        response: { 200: batch, ...failures },
      },
    },
    (request) => controlled(request, request.params.id, { kind: "deadline", completion_window: request.body.completion_window }),
  );

  app.get(
    "/v1/batches/:id/errors",
    {
      config: { scope: "read" },
      schema: {
        operationId: "listErrors",
        summary: "An ended batch's failed lines by cause, the most frequent first.",
        tags: ["batches"],
        params: batchPath,
        querystring: z.strictObject({ lineage }),
        response: { 200: batchErrors, ...failures },
      },
    },
    async (request) => {
      const { tenant } = callerOf(request);
      const { id } = request.params;
      const { members } = await findLineage(context, tenant, id, request.waiting);
      const own = members.filter((member) => member.request.id === id);
      const status = own[0]?.state.kind === "runs" ? own[0].state.status : null;
      if (status !== null && !request.query.lineage) throw conflict("errors", id, status);
      // A retry alone: nothing before it counts.
      const read = request.query.lineage ? withLines(members) : withLines(own);
      const { codes } = await countFailures(context, read, request.waiting);
      const data = [...codes].map(([code, count]) => ({ code, count, ...traitsOf(code) }));
      return { object: "list" as const, data: data.toSorted((a, b) => b.count - a.count || (a.code < b.code ? -1 : 1)) };
    },
  );

  app.get(
    "/v1/batches/:id/report",
    {
      config: { scope: "read" },
      schema: {
        operationId: "getReport",
        summary: "What a dry run found. 409 until it has ended, and where the batch failed before it was read.",
        tags: ["batches"],
        params: batchPath,
        response: { 200: dryRunReport, ...failures },
      },
    },
    async (request) =>
      readReport(context, await findBatch(context, callerOf(request).tenant, request.params.id, request.waiting), request.waiting),
  );

  app.get(
    "/v1/batches/:id/results",
    {
      config: { scope: "read" },
      schema: {
        operationId: "listResults",
        summary: "Result lines in the manifest's order, also while the batch runs.",
        tags: ["batches"],
        params: batchPath,
        querystring: z.strictObject({
          after: z.string().min(1).max(1_000).optional().describe("`next` of the page before."),
          limit: z.coerce.number().int().min(1).max(limits.resultsPage).default(100),
          status: z.enum(["completed", "failed"]).optional().describe("Only these lines."),
          lineage,
        }),
        response: { 200: resultsPage, ...failures },
      },
    },
    async (request) => {
      const { after, limit, status, lineage: merged } = request.query;
      const { tenant } = callerOf(request);
      const found = await findBatch(context, tenant, request.params.id, request.waiting);
      const asked = { after: after ?? null, limit, only: status ?? null };
      const page = merged
        ? {
            ...(await readLineage(context, await findLineage(context, tenant, request.params.id, request.waiting), asked, request.waiting)),
            ended: true,
          }
        : await readResults(context, found, asked, request.waiting);
      return {
        object: "list" as const,
        data: [...page.lines],
        next: page.ended && !page.more ? null : encodeCursor(page.next),
        has_more: page.more,
        status: shownStatus(found.kind === "record" ? found.record.status : found.end.status),
      };
    },
  );

  done();
};

const lineage = z
  .enum(["true", "false"])
  .default("false")
  .transform((value) => value === "true")
  .describe(
    "Of the batch and its retries that have ended, whichever of them is asked: the newest line of each item, in the order of the first batch's.",
  );

const idempotencyKey = (meaning: string) => z.object({ "idempotency-key": z.string().min(1).max(255).optional().describe(meaning) });

/** What OpenAI's clients send where they try again; they have no idempotency key. */
function isRepeated(headers: IncomingHttpHeaders): boolean {
  return Number(headers["x-stainless-retry-count"] ?? 0) > 0;
}

function traitsOf(code: string): { readonly meaning: string | null; readonly retryable: boolean } {
  return isErrorCode(code) ? errorTable[code] : { meaning: null, retryable: false };
}
