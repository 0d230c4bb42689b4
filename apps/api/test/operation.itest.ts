import { CodedError } from "@flamboyance/contracts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { imagesBucket, serviceBucket, startService, type Service, modelKey } from "./service.ts";

const fields = ["code", "message", "param", "type"];

describe("every answer", () => {
  let service: Service;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => service.close());

  it("wants a known key below /v1, and tells nothing without one", async () => {
    const paths = ["/v1/batches", "/v1/batches/batch_x", "/v1/batches/batch_x/results", "/v1/models"];
    for (const path of paths) {
      expect(await service.ask(path, { key: null })).toMatchObject({
        status: 401,
        body: { error: { code: "authentication_required", type: "authentication_error" } },
      });
      expect(await service.ask(path, { key: "wrong" })).toMatchObject({ status: 401, body: { error: { code: "invalid_api_key" } } });
      const basic = await service.ask(path, { key: null, headers: { authorization: "Basic dXNlcjpwYXNz" } });
      expect(basic).toMatchObject({ status: 401, body: { error: { code: "authentication_required" } } });
    }
    // Before the body is looked at.
    expect(await service.ask("/v1/batches", { method: "POST", key: null, body: "{" })).toMatchObject({ status: 401 });
  });

  it("that fails has all four fields and names its request", async () => {
    const failures = [
      await service.ask("/nowhere"),
      await service.ask("/v1/nowhere"),
      await service.ask("/v1/batches", { method: "DELETE" }),
      await service.ask("/v1/batches/%E0%A4%A"),
      await service.ask("/v1/models/none"),
      await service.ask("/v1/batches", { key: null }),
    ];
    for (const { status, body, headers } of failures) {
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
      expect(Object.keys(body.error).toSorted()).toEqual(fields);
      expect(headers["x-request-id"]).toMatch(/^req_[0-9a-z]{26}$/);
    }
    expect(failures[0]?.body.error.code).toBe("not_found");
  });

  it("lists the catalogue's models, broken ones left out", async () => {
    await service.put(serviceBucket, "models/broken/flamingo.json", "{}");
    await service.put(serviceBucket, "models/demo/vision.onnx", "x");
    const list = await service.ask("/v1/models");
    expect(list.body).toEqual({
      object: "list",
      data: [{ id: "demo", object: "model", created: expect.any(Number), owned_by: "flamboyance" }],
    });
    expect((await service.ask("/v1/models/demo")).body).toEqual(list.body.data[0]);
    expect(await service.ask("/v1/models/none")).toMatchObject({ status: 404, body: { error: { code: "model_not_found" } } });
    // Our own fault: said without a word about where.
    const broken = await service.ask("/v1/models/broken");
    expect(broken).toMatchObject({ status: 500, body: { error: { code: "internal_error" } } });
    expect(broken.text).not.toContain("models/broken");
  });

  it("tells health, readiness and figures without a key", async () => {
    expect(await service.ask("/health", { key: null })).toMatchObject({ status: 200 });
    expect(await service.ask("/ready", { key: null })).toMatchObject({ status: 200 });
    await service.ask("/v1/batches", {
      method: "POST",
      body: { model: "demo", task: "caption", input: `s3://${imagesBucket}/manifest.jsonl` },
    });
    await service.queue.announce({ worker: "w", model: "m-fp32", slots: 2 }, 60_000);
    const { text, headers } = await service.ask("/metrics", { key: null });
    expect(headers["content-type"]).toContain("text/plain");
    expect(text).toContain('flamboyance_queue_jobs{kind="plan",model_key="",state="ready"} 1');
    expect(text).toContain('flamboyance_model_slots{model_key="m-fp32"} 2');
    expect(text).toContain('flamboyance_dependency_up{dependency="redis"} 1');
    expect(text).toContain('flamboyance_dependency_up{dependency="s3"} 1');
    expect(text).toMatch(/flamboyance_http_request_duration_seconds_count\{method="POST",route="\/v1\/batches",status="200"\} 1/);
    expect(text).toMatch(/flamboyance_batches\{status="validating"\} 1/);
    expect(text).toContain(`flamboyance_batches_waiting{model_key="${modelKey}"} 1`);
    await service.queue.announce({ worker: "w", model: modelKey, slots: 2 }, 60_000);
    expect((await service.ask("/metrics", { key: null })).text).toContain(`flamboyance_batches_waiting{model_key="${modelKey}"} 0`);
    await service.queue.withdraw("w", modelKey);
  });
});

describe("a dependency that is away", () => {
  let service: Service;
  let id: string;
  const body = { model: "demo", task: "caption", input: `s3://${imagesBucket}/manifest.jsonl` };
  beforeAll(async () => {
    service = await startService();
    id = (await service.ask("/v1/batches", { method: "POST", body })).body.id;
  });
  afterAll(() => service.close());

  it("S3: a 503 with retry-after, nothing else, and all is well when it is back", async () => {
    service.breakS3(true);
    for (const asked of [
      await service.ask("/v1/models"),
      await service.ask("/v1/batches", { method: "POST", body }),
      await service.ask("/ready"),
    ]) {
      expect(asked).toMatchObject({ status: 503, body: { error: { code: "service_unavailable", type: "server_error" } } });
      expect(Number(asked.headers["retry-after"])).toBeGreaterThan(0);
    }
    expect((await service.ask("/metrics")).text).toContain('flamboyance_dependency_up{dependency="s3"} 0');
    expect(await service.ask("/health")).toMatchObject({ status: 200 });
    service.breakS3(false);
    expect(await service.ask("/ready")).toMatchObject({ status: 200 });
    expect(await service.ask("/v1/batches", { method: "POST", body })).toMatchObject({ status: 200 });
  });

  it("Redis: a 503 with retry-after, never a 404 or 500", async () => {
    await service.stopRedis();
    const answers = await Promise.all([
      service.ask(`/v1/batches/${id}`),
      service.ask("/v1/batches/batch_01hzzzzzzzzzzzzzzzzzzzzzzz"),
      service.ask("/v1/batches"),
      service.ask(`/v1/batches/${id}/results`),
      service.ask(`/v1/batches/${id}/cancel`, { method: "POST" }),
      service.ask(`/v1/batches/${id}/pause`, { method: "POST" }),
      service.ask(`/v1/batches/${id}/resume`, { method: "POST" }),
      service.ask("/v1/batches", { method: "POST", body }),
      service.ask("/v1/batches", { method: "POST", body, headers: { "idempotency-key": "away" } }),
      service.ask("/ready"),
    ]);
    for (const [index, asked] of answers.entries()) {
      expect(asked, `answer ${index}`).toMatchObject({ status: 503, body: { error: { code: "service_unavailable" } } });
      expect(Number(asked.headers["retry-after"])).toBeGreaterThan(0);
    }
    const { text, status } = await service.ask("/metrics");
    expect(status).toBe(200);
    expect(text).toContain('flamboyance_dependency_up{dependency="redis"} 0');
    expect(await service.ask("/v1/models")).toMatchObject({ status: 200 });
  });
});

it("a cancel whose answer Redis can't give stands, and is a 503", async () => {
  const away = { now: false };
  const service = await startService({
    seen: (queue) => ({
      ...queue,
      liveModels: () => (away.now ? Promise.reject(new CodedError("service_unavailable", "Redis doesn't answer.")) : queue.liveModels()),
    }),
  });
  try {
    const body = { model: "demo", task: "caption", input: `s3://${imagesBucket}/manifest.jsonl` };
    const { id } = (await service.ask("/v1/batches", { method: "POST", body })).body;
    away.now = true;
    const answer = await service.ask(`/v1/batches/${id}/cancel`, { method: "POST" });
    expect(answer).toMatchObject({ status: 503, body: { error: { code: "service_unavailable" } } });
    expect(await service.queue.batch(id)).toMatchObject({ status: "cancelling" });
  } finally {
    await service.close();
  }
});
