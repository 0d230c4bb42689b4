import type { Batch, ResultLine } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { createClient, FlamboyanceError } from "./index.ts";

interface Sent {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly body: unknown;
}

it("sends the key and the body, and gives the parsed batch", async () => {
  const { client, sent } = answering(json(batch()));
  const made = await client.batches.create({ model: "demo", task: "caption", input: "s3://photos/2024/" });
  expect(made.id).toBe("batch_1");
  expect(sent[0]).toMatchObject({
    method: "POST",
    url: "http://api.test/v1/batches",
    body: { model: "demo", task: "caption", input: "s3://photos/2024/" },
  });
  expect(sent[0]?.headers.get("authorization")).toBe("Bearer key");
});

it("cancels, pauses and resumes by a POST to the batch, each answered with it", async () => {
  const { client, sent } = answering(json(batch("cancelling")), json(batch("paused")), json(batch("in_progress")));
  const answers = [await client.batches.cancel("batch_1"), await client.batches.pause("batch_1"), await client.batches.resume("batch_1")];
  expect(answers.map(({ status }) => status)).toEqual(["cancelling", "paused", "in_progress"]);
  expect(sent.map(({ method, url }) => `${method} ${new URL(url).pathname}`)).toEqual([
    "POST /v1/batches/batch_1/cancel",
    "POST /v1/batches/batch_1/pause",
    "POST /v1/batches/batch_1/resume",
  ]);
});

it("changes a priority by a POST that carries it", async () => {
  const { client, sent } = answering(json({ ...batch("in_progress"), priority: -3 }));
  expect((await client.batches.setPriority("batch_1", -3)).priority).toBe(-3);
  expect(sent[0]).toMatchObject({ method: "POST", url: "http://api.test/v1/batches/batch_1/priority", body: { priority: -3 } });
});

it("changes a deadline by a POST that carries the window", async () => {
  const { client, sent } = answering(json({ ...batch("in_progress"), completion_window: "48h" }));
  expect((await client.batches.setDeadline("batch_1", "48h")).completion_window).toBe("48h");
  expect(sent[0]).toMatchObject({ method: "POST", url: "http://api.test/v1/batches/batch_1/deadline", body: { completion_window: "48h" } });
});

it("retries by a POST under an idempotency key, with the codes that are given", async () => {
  const { client, sent } = answering(failure(503, "service_unavailable"), json(batch()), json(batch()));
  await client.batches.retry("batch_1", { errorCodes: ["image_not_found"] });
  await client.batches.retry("batch_1");
  expect(sent.map(({ method, url, body }) => [method, new URL(url).pathname, body])).toEqual([
    ["POST", "/v1/batches/batch_1/retry", { error_codes: ["image_not_found"] }],
    ["POST", "/v1/batches/batch_1/retry", { error_codes: ["image_not_found"] }],
    ["POST", "/v1/batches/batch_1/retry", {}],
  ]);
  const keys = sent.map(({ headers }) => headers.get("idempotency-key"));
  expect(keys[0]).toBe(keys[1]);
  expect(keys[2]).not.toBe(keys[0]);
});

it("reads results and errors of a batch with its retries", async () => {
  const errors = [{ code: "image_not_found", count: 2, meaning: "m", retryable: false }];
  const { client, sent } = answering(page(["a"], null, false), json({ object: "list", data: errors }));
  expect(await idsOf(client.batches.results("batch_1", { lineage: true }))).toEqual(["a"]);
  expect(await client.batches.errors("batch_1", { lineage: true })).toEqual(errors);
  expect(sent.map(({ url }) => new URL(url).searchParams.get("lineage"))).toEqual(["true", "true"]);
});

it("tries what passes again, a submit under one idempotency key", async () => {
  const { client, sent } = answering(failure(503, "service_unavailable"), "cut", failure(429, "rate_limited"), json(batch()));
  await client.batches.create({ model: "demo", task: "caption", input: "s3://photos/2024/" });
  expect(sent).toHaveLength(4);
  expect(new Set(sent.map(({ headers }) => headers.get("idempotency-key"))).size).toBe(1);
  expect(sent[0]?.headers.get("idempotency-key")).toMatch(/.{20,}/);
});

it("doesn't try again what can't pass, and tells code, status, place and request", async () => {
  const { client, sent } = answering(failure(404, "model_not_found", "model"));
  await expect(client.batches.create({ model: "none", task: "caption", input: "s3://photos/2024/" })).rejects.toMatchObject({
    code: "model_not_found",
    status: 404,
    param: "model",
    requestId: "req_1",
    retryable: false,
  });
  expect(sent).toHaveLength(1);
});

it("doesn't try again where the server says that it won't help", async () => {
  const full = failure(429, "quota_exceeded");
  full.headers.set("x-should-retry", "false");
  const { client, sent } = answering(full);
  await expect(client.batches.retry("batch_1")).rejects.toMatchObject({ code: "quota_exceeded", status: 429, retryable: true });
  expect(sent).toHaveLength(1);
});

it("gives up after its retries, with the last failure", async () => {
  const { client, sent } = answering(...Array.from({ length: 9 }, () => failure(503, "service_unavailable")));
  await expect(client.batches.get("batch_1")).rejects.toMatchObject({ code: "service_unavailable", retryable: true });
  expect(sent).toHaveLength(5);
});

it("says no_answer where nobody listens, and invalid_answer where somebody else does", async () => {
  const away = answering("cut", { retries: 0 });
  await expect(away.client.models.list()).rejects.toMatchObject({ code: "no_answer", status: null });
  const other = answering(new Response("<html>", { status: 200 }), new Response("<html>", { status: 403 }));
  await expect(other.client.models.list()).rejects.toMatchObject({ code: "invalid_answer", status: 200 });
  await expect(other.client.models.list()).rejects.toMatchObject({ code: "invalid_answer", status: 403 });
});

it("refuses an address that isn't one, and takes OpenAI's with /v1", async () => {
  expect(() => createClient({ baseUrl: "localhost:8080" })).toThrow(FlamboyanceError);
  const { client, sent } = answering(json({ object: "list", data: [] }), { baseUrl: "http://api.test/v1/" });
  await client.models.list();
  expect(sent[0]?.url).toBe("http://api.test/v1/models");
});

it("reads results page by page, and stops where nothing more stands ready", async () => {
  const { client, sent } = answering(page(["a", "b"], "cursor1", true), page(["c"], "cursor2", false));
  expect(await idsOf(client.batches.results("batch_1", { status: "failed" }))).toEqual(["a", "b", "c"]);
  expect(sent.map(({ url }) => new URL(url).searchParams.get("after"))).toEqual([null, "cursor1"]);
  expect(sent.every(({ url }) => new URL(url).searchParams.get("status") === "failed")).toBe(true);
});

it("follows a running batch to its end", async () => {
  const { client } = answering(page(["a"], "cursor1", false), page([], "cursor1", false), page(["b"], null, false));
  expect(await idsOf(client.batches.results("batch_1", { follow: true, intervalMs: 1 }))).toEqual(["a", "b"]);
});

it("waits for the end through passing faults and a pause, telling every look", async () => {
  const { client } = answering(
    json(batch("validating")),
    failure(503, "service_unavailable"),
    json(batch("paused")),
    json(batch("in_progress")),
    json(batch("failed")),
    { retries: 0 },
  );
  const seen: string[] = [];
  const ended = await client.batches.wait("batch_1", { intervalMs: 1, onProgress: ({ status }) => seen.push(status) });
  expect(ended.status).toBe("failed");
  expect(seen).toEqual(["validating", "paused", "in_progress", "failed"]);
});

it("doesn't wait for a server that was never there", async () => {
  const { client } = answering("cut", { retries: 0 });
  await expect(client.batches.wait("batch_1", { intervalMs: 1 })).rejects.toMatchObject({ code: "no_answer" });
});

it("stops waiting with the signal's reason", async () => {
  const { client } = answering(json(batch("in_progress")));
  const stop = new AbortController();
  const reason = new Error("enough");
  const waiting = client.batches.wait("batch_1", { signal: stop.signal, onProgress: () => stop.abort(reason) });
  await expect(waiting).rejects.toBe(reason);
});

it("lists every batch over pages", async () => {
  const list = (ids: string[], more: boolean) =>
    json({
      object: "list",
      data: ids.map((id) => batch("completed", id)),
      first_id: ids[0] ?? null,
      last_id: ids.at(-1) ?? null,
      has_more: more,
    });
  const { client, sent } = answering(list(["b3", "b2"], true), list(["b1"], false));
  const ids: string[] = [];
  for await (const { id } of client.batches.all()) ids.push(id);
  expect(ids).toEqual(["b3", "b2", "b1"]);
  expect(new URL(sent[1]?.url ?? "").searchParams.get("after")).toBe("b2");
});

interface Changes {
  readonly retries?: number;
  readonly baseUrl?: string;
}

/** A client whose calls get these answers in turn; "cut" is a connection that breaks. */
function answering(...script: (Response | "cut" | Changes)[]) {
  const sent: Sent[] = [];
  const answers = script.filter((part) => part === "cut" || part instanceof Response);
  const changes = script.filter((part): part is Changes => part !== "cut" && !(part instanceof Response));
  const options: Changes = Object.assign({}, ...changes);
  const ask: typeof fetch = (url, init) => {
    sent.push({
      method: init?.method ?? "GET",
      url: url as string,
      headers: new Headers(init?.headers),
      body: typeof init?.body === "string" ? JSON.parse(init.body) : undefined,
    });
    const answer = answers.shift();
    return answer instanceof Response ? Promise.resolve(answer) : Promise.reject(new TypeError("fetch failed"));
  };
  return { client: createClient({ baseUrl: "http://api.test", apiKey: "key", fetch: ask, ...options }), sent };
}

function json(value: unknown): Response {
  return new Response(JSON.stringify(value), { status: 200 });
}

function failure(status: number, code: string, param: string | null = null): Response {
  const body = { error: { message: "m", type: "server_error", param, code } };
  return new Response(JSON.stringify(body), { status, headers: { "x-request-id": "req_1", "retry-after": "0" } });
}

function page(ids: string[], next: string | null, hasMore: boolean): Response {
  const data = ids.map((id) => ({ id, custom_id: id, response: null, error: { code: "batch_cancelled", message: "m" } }));
  return json({ object: "list", data, next, has_more: hasMore, status: "in_progress" });
}

async function idsOf(lines: AsyncIterable<ResultLine>): Promise<string[]> {
  const ids: string[] = [];
  for await (const line of lines) ids.push(line.id);
  return ids;
}

function batch(status: Batch["status"] = "validating", id = "batch_1"): Batch {
  return {
    id,
    object: "batch",
    endpoint: "/v1/chat/completions",
    model: "demo",
    errors: null,
    input_file_id: null,
    completion_window: "24h",
    status,
    output_file_id: null,
    error_file_id: null,
    created_at: 1,
    in_progress_at: null,
    expires_at: 2,
    finalizing_at: null,
    completed_at: null,
    failed_at: null,
    expired_at: null,
    cancelling_at: null,
    cancelled_at: null,
    request_counts: { total: 0, completed: 0, failed: 0 },
    usage: {
      input_tokens: 0,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 0,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 0,
    },
    metadata: null,
    task: "caption",
    input: "s3://photos/2024/",
    output: null,
    retry_of: null,
    results: null,
    priority: 0,
    stored_bytes: 0,
    never_ran: 0,
    saved: { copied: 0, reused: 0 },
    max_failed: null,
    paused_reason: null,
    waiting_for: null,
    delivery: null,
  };
}
