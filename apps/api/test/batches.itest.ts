import { control } from "@flamboyance/contracts";
import { batchKeys } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { confirm, finish, linesOf, plan, record } from "./hand-worker.ts";
import {
  elsewhereBucket,
  forbiddenBucket,
  imagesBucket,
  modelKey,
  serviceBucket,
  startService,
  type Answer,
  type Service,
} from "./service.ts";

const forever = new AbortController().signal;
const caption = { model: "demo", task: "caption", input: `s3://${imagesBucket}/manifest.jsonl` };

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const submit = (changes: object = {}, headers: Record<string, string> = {}): Promise<Answer> =>
  service.ask("/v1/batches", { method: "POST", body: { ...caption, ...changes }, headers });
const submitted = async (changes: object = {}): Promise<string> => {
  const answer = await submit(changes);
  expect(answer.status, answer.text).toBe(200);
  return answer.body.id;
};
const stored = async (key: string) =>
  JSON.parse(Buffer.from((await service.storage.read({ bucket: serviceBucket, key }, { signal: forever })).bytes).toString());

/** The batch's control objects, in the order of their numbers. */
const controlLog = async (id: string): Promise<unknown[]> => {
  const objects: unknown[] = [];
  for await (const { key } of service.storage.list({ bucket: serviceBucket, key: batchKeys(id).controlPrefix }, { signal: forever })) {
    expect(key).toMatch(/\/control\/\d{10}-[0-9a-z]{26}\.json$/);
    objects.push(control.parse(await stored(key)));
  }
  return objects;
};

describe("submit", () => {
  it("answers the batch, freezes the request, leaves a marker and a record", async () => {
    const answer = await submit({
      output: "s3://demo-results/out/",
      examples: [{ image: "s3://demo-images/a.png", text: "a bird" }],
      metadata: { project: "x" },
    });
    expect(answer.status).toBe(200);
    expect(answer.headers["x-request-id"]).toMatch(/^req_/);
    expect(answer.body).toMatchObject({
      object: "batch",
      status: "validating",
      model: "demo",
      task: "caption",
      endpoint: "/v1/chat/completions",
      request_counts: { total: 0, completed: 0, failed: 0 },
      errors: null,
      metadata: { project: "x" },
      output: "s3://demo-results/out/",
      delivery: { status: "pending", error: null },
      completed_at: null,
    });
    expect(answer.body.expires_at - answer.body.created_at).toBe(86_400);
    const keys = batchKeys(answer.body.id);
    expect(await stored(keys.request)).toMatchObject({
      id: answer.body.id,
      tenant: "demo",
      buckets: ["demo-*"],
      generation: { max_new_tokens: 20, min_new_tokens: 0, num_beams: 3 },
      on_invalid: "fail",
    });
    expect(await service.storage.describe({ bucket: serviceBucket, key: keys.marker }, { signal: forever })).not.toBeNull();
    expect(await service.ask(`/v1/batches/${answer.body.id}`)).toMatchObject({ status: 200, body: answer.body });
  });

  it("settles how texts are made, and keeps a seed for what is sampled", async () => {
    const settled = async (changes: object) => {
      const id = await submitted(changes);
      return (await stored(batchKeys(id).request)).generation;
    };
    expect(await settled({ task: "vqa", question: "What?" })).toEqual({ max_new_tokens: 5, min_new_tokens: 0, num_beams: 3 });
    expect(await settled({ generation: { stop: ["."] } })).toMatchObject({ num_beams: 1, stop: ["."] });
    expect(await settled({ generation: { temperature: 0.5, seed: 7 } })).toMatchObject({ num_beams: 1, temperature: 0.5, seed: 7 });
    const [first, second] = [await settled({ generation: { top_k: 4 } }), await settled({ generation: { top_k: 4 } })];
    expect(first).toMatchObject({ num_beams: 1, seed: expect.any(Number) });
    expect(first.seed).not.toBe(second.seed);
  });

  it("freezes what classify and prompt need", async () => {
    const classify = await submitted({ task: "classify", labels: ["a bird", "a cat"], examples: [{ text: "a bird" }] });
    expect(await stored(batchKeys(classify).request)).toMatchObject({ labels: ["a bird", "a cat"], rank_by: "mean" });
    const prompt = await submitted({ task: "prompt", prompt: "The colour is", examples: [{ text: " red" }] });
    expect(await stored(batchKeys(prompt).request)).toMatchObject({ prompt: "The colour is", generation: { max_new_tokens: 20 } });
  });

  it("takes as many frames as the model does, and no more", async () => {
    expect(await submit({ frames: 5 })).toMatchObject({ status: 400, body: { error: { code: "invalid_request", param: "frames" } } });
    const images = ["s3://demo-images/a.png", "s3://demo-images/b.png"];
    const id = await submitted({ frames: 4, examples: [{ images, text: "a bird" }] });
    expect(await stored(batchKeys(id).request)).toMatchObject({ frames: 4, examples: [{ images, text: "a bird" }] });
    expect(await stored(batchKeys(await submitted()).request)).not.toHaveProperty("frames");
  });

  it("takes a prefix or a pattern for input, also one without objects", async () => {
    for (const input of ["s3://demo-images/", "s3://demo-images/2024/**/*.{jpg,png}", "s3://demo-images/none/"]) {
      expect((await submit({ input })).status).toBe(200);
    }
  });

  it("says where a body doesn't fit", async () => {
    const cases: [object, string][] = [
      [{ task: "sing" }, "task"],
      [{ input: "photos/" }, "input"],
      [{ input: "s3://demo-images/one.jpg" }, "input"],
      [{ inptu: "s3://demo-images/" }, "inptu"],
      [{ examples: [{ text: "fine" }, { txt: "a bird" }] }, "examples[1].txt"],
      [{ task: "vqa", examples: [{ text: "a bird" }] }, "examples[0]"],
      [{ completion_window: "soon" }, "completion_window"],
      [{ generation: { max_new_tokens: 0 } }, "generation.max_new_tokens"],
      [{ generation: { num_beams: 9 } }, "generation.num_beams"],
      [{ generation: { temperature: 0 } }, "generation.temperature"],
      [{ generation: { temperature: 0.5, num_beams: 2 } }, "generation.temperature"],
      [{ generation: { stop: ["."], num_beams: 2 } }, "generation.stop"],
      [{ generation: { n: 4 } }, "generation.n"],
      [{ generation: { early_stopping: true, num_beams: 1 } }, "generation.early_stopping"],
      [{ task: "classify", labels: ["one", "two"], generation: { num_beams: 2 } }, "generation.num_beams"],
      [{ task: "classify", labels: ["one", "one"] }, "labels"],
      [{ labels: ["one", "two"] }, "labels"],
      [{ prompt: "The colour is" }, "prompt"],
      [{ frames: 0 }, "frames"],
      [{ frames: 65 }, "frames"],
      [{ examples: [{ image: "s3://demo-images/a.png", images: ["s3://demo-images/b.png"], text: "two ways" }] }, "examples[0]"],
      [{ examples: [{ images: [], text: "none" }] }, "examples[0].images"],
      [{ metadata: { key: 1 } }, "metadata.key"],
      [{ output: "s3://demo-results/no-slash" }, "output"],
    ];
    for (const [changes, param] of cases) {
      const answer = await submit(changes);
      expect(answer, JSON.stringify(changes)).toMatchObject({
        status: 400,
        body: { error: { code: "invalid_request", type: "invalid_request_error", param } },
      });
    }
  });

  it("refuses what isn't JSON, and what is too large", async () => {
    const post = (body: string) => service.ask("/v1/batches", { method: "POST", body });
    expect(await post("{")).toMatchObject({ status: 400, body: { error: { code: "invalid_request" } } });
    expect(await post("[]")).toMatchObject({ status: 400, body: { error: { code: "invalid_request", param: null } } });
    const text = await service.ask("/v1/batches", { method: "POST", body: "hello", headers: { "content-type": "text/csv" } });
    expect(text).toMatchObject({ status: 400, body: { error: { code: "invalid_request" } } });
    const large = JSON.stringify({ ...caption, question: "x".repeat(5 * 1024 * 1024) });
    expect(await post(large)).toMatchObject({ status: 413, body: { error: { code: "payload_too_large" } } });
  });

  it("knows no model that the catalogue doesn't hold, and no path instead of a name", async () => {
    for (const model of ["flamingo-9b", "../demo", "demo/"]) {
      expect(await submit({ model })).toMatchObject({ status: 404, body: { error: { code: "model_not_found", param: "model" } } });
    }
  });

  it("lets a tenant use its own buckets alone, in every place", async () => {
    const cases: [object, string][] = [
      [{ input: "s3://other-images/" }, "input"],
      [{ input: `s3://${serviceBucket}/batches/` }, "input"],
      [{ output: `s3://${serviceBucket}/` }, "output"],
      [{ examples: [{ text: "one" }, { image: "s3://other-images/a.png", text: "two" }] }, "examples[1].image"],
      [{ examples: [{ images: ["s3://demo-images/a.png", "s3://other-images/a.png"], text: "one" }] }, "examples[0].images[1]"],
    ];
    for (const [changes, param] of cases) {
      expect(await submit(changes)).toMatchObject({
        status: 403,
        body: { error: { code: "bucket_not_allowed", type: "permission_error", param } },
      });
    }
  });

  it("keeps the service's own bucket from a tenant that may use any", async () => {
    const post = (body: object) => service.ask("/v1/batches", { method: "POST", body, key: service.keys.everywhere });
    expect((await post(caption)).status).toBe(200);
    for (const [param, place] of [
      ["input", `s3://${serviceBucket}/batches/`],
      ["output", `s3://${serviceBucket}/models/`],
    ] as const) {
      expect(await post({ ...caption, [param]: place })).toMatchObject({
        status: 403,
        body: { error: { code: "bucket_not_allowed", param } },
      });
    }
  });

  it("looks whether the input is there and may be read", async () => {
    for (const input of ["s3://demo-images/none.jsonl", "s3://demo-none/manifest.jsonl", "s3://demo-none/folder/"]) {
      expect(await submit({ input })).toMatchObject({ status: 404, body: { error: { code: "manifest_not_found", param: "input" } } });
    }
    // A bucket of another region is there, but can't be read from here.
    for (const input of [forbiddenBucket, elsewhereBucket].flatMap((bucket) => [`s3://${bucket}/manifest.jsonl`, `s3://${bucket}/`])) {
      expect(await submit({ input })).toMatchObject({ status: 403, body: { error: { code: "manifest_forbidden", param: "input" } } });
    }
  });

  it("looks whether the output can be written, and leaves nothing there", async () => {
    for (const output of ["s3://demo-none/", `s3://${forbiddenBucket}/out/`, `s3://${elsewhereBucket}/out/`]) {
      expect(await submit({ output })).toMatchObject({ status: 400, body: { error: { code: "output_not_writable", param: "output" } } });
    }
    expect((await submit({ output: "s3://demo-results/probe/" })).status).toBe(200);
    for await (const { key } of service.storage.list({ bucket: "demo-results", key: "probe/" }, { signal: forever })) expect.fail(key);
  });
});

describe("an idempotency key", () => {
  it("answers the same batch to the same body, whatever the order of its fields", async () => {
    const key = { "idempotency-key": "one" };
    const first = await submit({}, key);
    const again = await service.ask("/v1/batches", {
      method: "POST",
      body: Object.fromEntries(Object.entries(caption).toReversed()),
      headers: key,
    });
    expect(again.body.id).toBe(first.body.id);
    expect((await submit({}, { "idempotency-key": "two" })).body.id).not.toBe(first.body.id);
  });

  it("is refused with another body, and is another tenant's own", async () => {
    const key = { "idempotency-key": "three" };
    const first = await submit({}, key);
    expect(await submit({ task: "vqa", question: "What?" }, key)).toMatchObject({
      status: 422,
      body: { error: { code: "idempotency_mismatch" } },
    });
    await service.put("other-images", "manifest.jsonl", "{}\n");
    const body = { ...caption, input: "s3://other-images/manifest.jsonl" };
    const other = await service.ask("/v1/batches", { method: "POST", body, headers: key, key: service.keys.other });
    expect(other.status).toBe(200);
    expect(other.body.id).not.toBe(first.body.id);
  });

  it("answers an accepted batch though its model and its input are gone since", async () => {
    const key = { "idempotency-key": "kept" };
    const description = { contentHash: "c".repeat(64), precision: "fp32", limits: { maxFrames: 64 } };
    await service.put(serviceBucket, "models/passing/flamingo.json", JSON.stringify(description));
    await service.put(imagesBucket, "passing.jsonl", "{}\n");
    const body = { model: "passing", input: `s3://${imagesBucket}/passing.jsonl` };
    const first = await submit(body, key);
    const gone = [
      { bucket: serviceBucket, key: "models/passing/flamingo.json" },
      { bucket: imagesBucket, key: "passing.jsonl" },
    ];
    await service.storage.remove(gone, { signal: forever });
    expect(await submit(body, key)).toMatchObject({ status: 200, body: { id: first.body.id } });
    expect(await submit(body)).toMatchObject({ status: 404, body: { error: { code: "model_not_found" } } });
  });

  it("makes one batch of submits that run beside each other", async () => {
    const twins = await Promise.all(Array.from({ length: 5 }, () => submit({}, { "idempotency-key": "beside" })));
    expect(new Set(twins.map((twin) => JSON.stringify([twin.status, twin.body.id, twin.body.created_at]))).size).toBe(1);
    expect(twins[0]).toMatchObject({ status: 200, body: { status: "validating" } });
    expect((await stored(batchKeys(twins[0]?.body.id).request)).created_at).toBe(twins[0]?.body.created_at);
  });

  it("goes on with a submit that came no further than batch.json", async () => {
    const key = { "idempotency-key": "four" };
    const first = await submit({}, key);
    const twin = await submit({}, { "idempotency-key": "five" });
    // What a crash after batch.json leaves: the request, neither marker nor record.
    const crashed = await service.queue.reserve({ tenant: "demo", idempotencyKey: "six", bodyHash: await bodyHashOf() });
    const frozen = {
      ...(await stored(batchKeys(first.body.id).request)),
      id: crashed.id,
      idempotency_key: "six",
      created_at: 1_700_000_000,
      expires_at: 4_000_000_000,
    };
    await service.put(serviceBucket, batchKeys(crashed.id).request, JSON.stringify(frozen));
    const answer = await submit({}, { "idempotency-key": "six" });
    expect(answer.body).toMatchObject({ id: crashed.id, created_at: 1_700_000_000, status: "validating" });
    expect(
      await service.storage.describe({ bucket: serviceBucket, key: batchKeys(crashed.id).marker }, { signal: forever }),
    ).not.toBeNull();
    expect(twin.body.id).not.toBe(crashed.id);

    /** The hash that the api makes of this body: of its JSON with defaults filled in and keys in order. */
    async function bodyHashOf(): Promise<string> {
      const { createHash } = await import("node:crypto");
      const body = {
        ...caption,
        examples: [],
        generation: { min_new_tokens: 0 },
        on_invalid: "fail",
        completion_window: "24h",
        metadata: null,
      };
      const ordered = (value: unknown): unknown =>
        typeof value === "object" && value !== null && !Array.isArray(value)
          ? Object.fromEntries(
              Object.entries(value)
                .toSorted(([a], [b]) => (a < b ? -1 : 1))
                .map(([name, inner]) => [name, ordered(inner)]),
            )
          : value;
      return createHash("sha256")
        .update(JSON.stringify(ordered(body)))
        .digest("hex");
    }
  });
});

describe("a client that tries again without a key", () => {
  it("gets the batch of its first try, with the same body only", async () => {
    const body = { metadata: { try: "again" } };
    const first = await submit(body, { "x-stainless-retry-count": "0" });
    const again = await submit(body, { "x-stainless-retry-count": "1" });
    expect(again.body.id).toBe(first.body.id);
    expect((await submit({ metadata: { try: "else" } }, { "x-stainless-retry-count": "1" })).body.id).not.toBe(first.body.id);
    expect((await submit(body, { "x-stainless-retry-count": "0" })).body.id).not.toBe(first.body.id);
    expect((await submit(body)).body.id).not.toBe(first.body.id);
  });
});

describe("list", () => {
  it("gives a tenant's own batches, the newest first, page by page", async () => {
    const key = service.keys.other;
    await service.put("other-images", "manifest.jsonl", "{}\n");
    const body = { ...caption, input: "s3://other-images/manifest.jsonl" };
    const before = await service.ask("/v1/batches?limit=100", { key });
    const ids: string[] = [];
    for (let count = 0; count < 5; count++) ids.unshift((await service.ask("/v1/batches", { method: "POST", body, key })).body.id);
    const all = [...ids, ...before.body.data.map((batch: { id: string }) => batch.id)];

    const seen: string[] = [];
    for (let after = ""; ;) {
      const page = await service.ask(`/v1/batches?limit=2${after}`, { key });
      expect(page.body).toMatchObject({ object: "list", first_id: page.body.data[0].id, last_id: page.body.data.at(-1).id });
      seen.push(...page.body.data.map((batch: { id: string }) => batch.id));
      if (!page.body.has_more) break;
      after = `&after=${page.body.last_id}`;
    }
    expect(seen.toSorted((a, b) => a.localeCompare(b))).toEqual(all.toSorted((a, b) => a.localeCompare(b)));
    expect(seen.filter((id) => ids.includes(id))).toEqual(ids);
  });

  it("refuses an `after` that it didn't give out, and a limit past its bounds", async () => {
    const mine = await submitted();
    expect(await service.ask("/v1/batches?after=batch_none")).toMatchObject({
      status: 400,
      body: { error: { code: "invalid_cursor", param: "after" } },
    });
    expect(await service.ask(`/v1/batches?after=${mine}`, { key: service.keys.other })).toMatchObject({
      status: 400,
      body: { error: { code: "invalid_cursor" } },
    });
    for (const limit of ["0", "101", "ten"]) {
      expect(await service.ask(`/v1/batches?limit=${limit}`)).toMatchObject({
        status: 400,
        body: { error: { code: "invalid_request", param: "limit" } },
      });
    }
  });
});

describe("tenants", () => {
  it("never see one another's batches", async () => {
    const id = await submitted();
    const made = await plan(service, id, [1]);
    const absent = { status: 404, body: { error: { code: "not_found", type: "not_found_error" } } };
    const key = service.keys.other;
    const look = async () => {
      expect(await service.ask(`/v1/batches/${id}`, { key })).toMatchObject(absent);
      expect(await service.ask(`/v1/batches/${id}/results`, { key })).toMatchObject(absent);
      for (const kind of ["cancel", "pause", "resume"]) {
        expect(await service.ask(`/v1/batches/${id}/${kind}`, { key, method: "POST" })).toMatchObject(absent);
      }
      const list = await service.ask("/v1/batches?limit=100", { key });
      expect(list.body.data.map((batch: { id: string }) => batch.id)).not.toContain(id);
    };
    await look();
    await record(service, made, [0]);
    await finish(service, made);
    await look();
  });
});

describe("a batch's way", () => {
  it("shows counts and times from plan to end", async () => {
    const id = await submitted();
    const made = await plan(service, id, [2, 2], [[1, 0]]);
    expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({
      status: "in_progress",
      waiting_for: null,
      request_counts: { total: 5, completed: 0, failed: 1 },
    });
    await record(service, made, [0]);
    expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({
      request_counts: { total: 5, completed: 2, failed: 1 },
      usage: { input_tokens: 10, input_tokens_details: { cached_tokens: 4 }, output_tokens: 3, total_tokens: 13 },
      results: null,
    });
    await record(service, made, [1]);
    const end = await finish(service, made);
    expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({
      status: "completed",
      completed_at: end.ended_at,
      failed_at: null,
      request_counts: { total: 5, completed: 3, failed: 2 },
      results: { output: `s3://${serviceBucket}/${end.files?.output.key}` },
    });
  });

  it("says what it waits for where nobody serves its model", async () => {
    await service.put(
      serviceBucket,
      "models/unserved/flamingo.json",
      JSON.stringify({ contentHash: "b".repeat(64), precision: "fp32", limits: { maxFrames: 1 } }),
    );
    const answer = await submit({ model: "unserved" });
    expect(answer.body.waiting_for).toBe("worker for unserved");
  });

  it("is cancelled once, with a control object, and not after its end", async () => {
    const id = await submitted();
    const made = await plan(service, id, [1, 1]);
    const cancel = () => service.ask(`/v1/batches/${id}/cancel`, { method: "POST" });
    expect(await cancel()).toMatchObject({ status: 200, body: { id, status: "cancelling", cancelling_at: expect.any(Number) } });
    expect(await cancel()).toMatchObject({ status: 200, body: { status: "cancelling" } });
    expect(await controlLog(id)).toEqual([{ kind: "cancel" }]);
    expect(made.id).toBe(id);

    const done = await submitted();
    const ended = await plan(service, done, [1]);
    await record(service, ended, [0]);
    await finish(service, ended);
    const late = await service.ask(`/v1/batches/${done}/cancel`, { method: "POST" });
    expect(late).toMatchObject({ status: 409, body: { error: { code: "conflict" } } });
  });

  it("is sealed at once by a cancel that comes before its plan", async () => {
    const id = await submitted();
    const cancelled = await service.ask(`/v1/batches/${id}/cancel`, { method: "POST" });
    expect(cancelled).toMatchObject({ status: 200, body: { status: "cancelling" } });
    expect(await service.queue.batch(id)).toMatchObject({ status: "finalizing", outcome: "cancelled", plan: null });
  });

  it("shows why a plan was refused", async () => {
    const id = await submitted();
    const error = { code: "invalid_json_line", message: "m", param: null, line: 3 };
    await service.queue.refusePlan({ id, errors: [error] });
    expect((await service.ask(`/v1/batches/${id}`)).body.errors).toEqual({ object: "list", data: [error] });
  });

  it("is read from S3 once Redis has no row of it", async () => {
    const id = await submitted();
    const made = await plan(service, id, [2]);
    await record(service, made, [0]);
    const end = await finish(service, made);
    const known = (await service.ask(`/v1/batches/${id}`)).body;
    // Another id with the same objects: what a row that retention removed leaves.
    const forgotten = `batch_${id.slice(6, -4)}zzzz`;
    await service.put(
      serviceBucket,
      batchKeys(forgotten).request,
      JSON.stringify({ ...(await stored(batchKeys(id).request)), id: forgotten }),
    );
    expect(await service.ask(`/v1/batches/${forgotten}`)).toMatchObject({ status: 503, body: { error: { code: "service_unavailable" } } });
    await service.put(serviceBucket, batchKeys(forgotten).end, JSON.stringify(end));
    expect((await service.ask(`/v1/batches/${forgotten}`)).body).toEqual({ ...known, id: forgotten });
    expect((await service.ask(`/v1/batches/${forgotten}/results`)).body.data).toHaveLength(2);
    for (const kind of ["cancel", "pause", "resume"]) {
      expect(await service.ask(`/v1/batches/${forgotten}/${kind}`, { method: "POST" })).toMatchObject({ status: 409 });
    }
    expect(await service.ask(`/v1/batches/${forgotten}`, { key: service.keys.other })).toMatchObject({ status: 404 });
  });

  it("is not found under an id that isn't one", async () => {
    for (const id of ["batch_none", "batch_01hzzzzzzzzzzzzzzzzzzzzzzz", "..%2fmodels", "%2e%2e", "x".repeat(400)]) {
      expect(await service.ask(`/v1/batches/${id}`)).toMatchObject({ status: 404, body: { error: { code: "not_found" } } });
    }
  });
});

describe("pause and resume", () => {
  const ask = (id: string, kind: "pause" | "resume") => service.ask(`/v1/batches/${id}/${kind}`, { method: "POST" });
  const refused = (message: RegExp) => ({
    status: 409,
    body: { error: { code: "conflict", type: "invalid_request_error", message: expect.stringMatching(message) } },
  });

  it("answer the batch, however often they come, and stand in the control log in their order", async () => {
    const id = await submitted();
    const made = await plan(service, id, [1, 1]);
    for (const kind of ["pause", "pause"] as const) {
      expect(await ask(id, kind)).toMatchObject({ status: 200, body: { id, status: "paused", waiting_for: null } });
    }
    expect((await service.ask(`/v1/batches/${id}`)).body.status).toBe("paused");
    expect(await service.queue.dispatch(modelKey)).toBe(0);
    for (const kind of ["resume", "resume"] as const) {
      expect(await ask(id, kind)).toMatchObject({ status: 200, body: { id, status: "in_progress" } });
    }
    expect(await controlLog(id)).toEqual([{ kind: "pause" }, { kind: "pause" }, { kind: "resume" }, { kind: "resume" }]);
    await record(service, made, [0, 1]);
    await finish(service, made);
    expect((await service.ask(`/v1/batches/${id}`)).body.status).toBe("completed");
  });

  it("set a resumed batch's chunks going at once", async () => {
    const id = await submitted();
    await plan(service, id, [1, 1]);
    const ready = async () => (await service.queue.depths()).find(({ model }) => model === modelKey)?.ready ?? 0;
    await ask(id, "pause");
    // What other batches wait to have handed out.
    await service.queue.dispatch(modelKey);
    const before = await ready();
    await ask(id, "resume");
    expect(await ready()).toBe(before + 2);
  });

  it("are refused where the batch neither runs nor is paused, with the reason", async () => {
    const id = await submitted();
    expect(await ask(id, "pause")).toMatchObject(refused(/is validating: only a batch in progress can be paused/));
    expect(await ask(id, "resume")).toMatchObject(refused(/is validating: only a paused batch can be resumed/));
    const made = await plan(service, id, [1]);
    await record(service, made, [0]);
    await finish(service, made);
    for (const kind of ["pause", "resume"] as const) expect(await ask(id, kind)).toMatchObject(refused(/is completed/));
    expect(await controlLog(id)).toEqual([]);

    const cancelled = await submitted();
    await plan(service, cancelled, [1]);
    await service.ask(`/v1/batches/${cancelled}/cancel`, { method: "POST" });
    for (const kind of ["pause", "resume"] as const) expect(await ask(cancelled, kind)).toMatchObject(refused(/is cancelling/));
  });

  it("can be cancelled in between", async () => {
    const id = await submitted();
    await plan(service, id, [1]);
    await ask(id, "pause");
    expect(await service.ask(`/v1/batches/${id}/cancel`, { method: "POST" })).toMatchObject({
      status: 200,
      body: { status: "cancelling" },
    });
    expect(await controlLog(id)).toEqual([{ kind: "pause" }, { kind: "cancel" }]);
  });

  it("hold in the order of their numbers: a pause whose object was long in the writing doesn't undo a newer resume", async () => {
    const id = await submitted();
    await plan(service, id, [1]);
    service.beforeWrite(async () => {
      service.beforeWrite(null);
      // The batch runs already, and still the resume takes its place.
      expect(await ask(id, "resume")).toMatchObject({ status: 200 });
    });
    expect(await ask(id, "pause")).toMatchObject({ status: 200, body: { status: "in_progress" } });
    expect((await service.ask(`/v1/batches/${id}`)).body.status).toBe("in_progress");
    expect(await controlLog(id)).toEqual([{ kind: "pause" }, { kind: "resume" }]);
  });
});

describe("results", () => {
  const idsOf = (page: Answer): string[] => page.body.data.map((line: { id: string }) => line.id);

  it("are given in order up to the confirmed frontier, and go on where the cursor stopped, over the end", async () => {
    const id = await submitted();
    const made = await plan(
      service,
      id,
      [2, 3, 1, 2],
      [
        [1, 0],
        [5, 3],
        [20, 8],
      ],
    );
    const lines = linesOf(made).map((line) => line.id);
    const read = (after: string | null, more = "") =>
      service.ask(`/v1/batches/${id}/results?limit=2${after === null ? "" : `&after=${after}`}${more}`);

    let page = await read(null);
    expect(page.body).toMatchObject({ data: [], has_more: false, status: "in_progress" });
    expect(page.body.next).toEqual(expect.any(String));

    await record(service, made, [0, 1, 3]);
    page = await read(page.body.next);
    // Recorded, but no frontier object names them yet.
    expect(page.body.data).toEqual([]);
    await confirm(service, made, 1);
    const early = await service.ask(`/v1/batches/${id}/results`);
    expect(idsOf(early)).toEqual(lines.slice(0, 3));
    expect(early.body.has_more).toBe(false);
    await confirm(service, made, 2);

    const seen: string[] = [];
    do {
      page = await read(page.body.next);
      seen.push(...idsOf(page));
    } while (page.body.has_more);
    expect(seen).toEqual(lines.slice(0, 7));
    const idle = await read(page.body.next);
    expect(idle.body).toMatchObject({ data: [], has_more: false });

    await record(service, made, [2]);
    await confirm(service, made, 4);
    page = await read(idle.body.next);
    seen.push(...idsOf(page));
    await finish(service, made);
    while (page.body.next !== null) {
      page = await read(page.body.next);
      seen.push(...idsOf(page));
    }
    expect(seen).toEqual(lines);
    expect(page.body).toMatchObject({ has_more: false, status: "completed" });
    expect(seen).toHaveLength(11);
  });

  it("can be had for one status alone, running and ended", async () => {
    const id = await submitted();
    const made = await plan(service, id, [4, 4], [[3, 2]]);
    await record(service, made, [0, 1]);
    await confirm(service, made, 2);
    const lines = linesOf(made);
    const wanted = (status: string) =>
      lines.filter((line) => (line.response?.status_code === 200) === (status === "completed")).map((line) => line.id);
    const readAll = async (status: string) => {
      const seen: string[] = [];
      for (let after = ""; ;) {
        const page = await service.ask(`/v1/batches/${id}/results?limit=2&status=${status}${after}`);
        seen.push(...idsOf(page));
        if (page.body.next === null || !page.body.has_more) return seen;
        after = `&after=${page.body.next}`;
      }
    };
    for (const status of ["completed", "failed"]) expect(await readAll(status)).toEqual(wanted(status));
    await finish(service, made);
    for (const status of ["completed", "failed"]) expect(await readAll(status)).toEqual(wanted(status));
  });

  it("refuse a cursor of another batch, and one that is none", async () => {
    const [one, two] = [await submitted(), await submitted()];
    const { body } = await service.ask(`/v1/batches/${one}/results`);
    const refused = { status: 400, body: { error: { code: "invalid_cursor", param: "after" } } };
    expect(await service.ask(`/v1/batches/${two}/results?after=${body.next}`)).toMatchObject(refused);
    expect(await service.ask(`/v1/batches/${one}/results?after=12`)).toMatchObject(refused);
    expect(await service.ask(`/v1/batches/${one}/results?status=odd`)).toMatchObject({ status: 400, body: { error: { param: "status" } } });
  });
});
