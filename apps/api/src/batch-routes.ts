/** Routes of batches: submit, list, look, control, results. Each parses, asks, and shows; decisions lie in the files named after them. */
import {
  batch,
  batchList,
  createDatasetBatch,
  deletedBatch,
  dryRunReport,
  errorBody,
  limits,
  priority,
  resultsPage,
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
import { readReport } from "./report.ts";
import { readResults } from "./results.ts";
import { encodeCursor } from "./results-cursor.ts";
import { submitBatch } from "./submit.ts";

const failures = { "4xx": errorBody, "5xx": errorBody };
const batchPath = z.object({ id: z.string().max(limits.idCharacters) });
const writeTimeoutMs = 10_000;
const controls = [
  { kind: "cancel", summary: "Stop a batch; what is done stays and can be read." },
  { kind: "pause", summary: "Pause a batch: what runs is finished, nothing further starts, and the deadline stays." },
  { kind: "resume", summary: "Let a paused batch go on." },
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

  async function controlled(request: FastifyRequest, id: string, control: Control): Promise<Batch> {
    const { tenant } = callerOf(request);
    const found = await findBatch(context, tenant, id, request.signal);
    if (found.kind === "stored") throw conflict(control.kind, found.request.id, found.end.status);
    await controlBatch(context, control, found.record, AbortSignal.timeout(writeTimeoutMs));
    const shown = await view(await findBatch(context, tenant, id, request.signal));
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
        headers: z.object({
          "idempotency-key": z
            .string()
            .min(1)
            .max(255)
            .optional()
            .describe("For a day, the same key with the same body answers the same batch; with another body, 422."),
        }),
        body: createDatasetBatch,
        response: { 200: batch, ...failures },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      // What OpenAI's clients send where they try again; they have no idempotency key.
      const retry = Number(request.raw.headers["x-stainless-retry-count"] ?? 0) > 0;
      const submission = { caller, body: request.body, idempotencyKey: request.headers["idempotency-key"] ?? null, retry };
      // A caller that hangs up doesn't stop a submit half-way.
      const id = await submitBatch(context, submission, AbortSignal.timeout(writeTimeoutMs));
      request.made = id;
      return view(await findBatch(context, caller.tenant, id, request.signal));
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
        querystring: z.object({
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
    async (request) => view(await findBatch(context, callerOf(request).tenant, request.params.id, request.signal)),
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
      readReport(context, await findBatch(context, callerOf(request).tenant, request.params.id, request.signal), request.signal),
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
        querystring: z.object({
          after: z.string().min(1).max(1_000).optional().describe("`next` of the page before."),
          limit: z.coerce.number().int().min(1).max(limits.resultsPage).default(100),
          status: z.enum(["completed", "failed"]).optional().describe("Only these lines."),
        }),
        response: { 200: resultsPage, ...failures },
      },
    },
    async (request) => {
      const { after, limit, status } = request.query;
      const found = await findBatch(context, callerOf(request).tenant, request.params.id, request.signal);
      const page = await readResults(context, found, { after: after ?? null, limit, only: status ?? null }, request.signal);
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
