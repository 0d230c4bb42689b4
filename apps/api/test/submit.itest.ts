/** The submit: what is frozen, what is refused, and that a repeated one makes no second batch. Long, for there are many things to refuse; all of them ask the same service. */
import { createHash } from "node:crypto";
import { batchKeys } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { callsOf, caption } from "./calls.ts";
import { elsewhereBucket, forbiddenBucket, imagesBucket, serviceBucket, startService, type Service } from "./service.ts";

const forever = new AbortController().signal;

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const { submit, submitted, stored } = callsOf(() => service);

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
      access: { read: ["demo-*"], write: ["demo-*"], credentials: [] },
      generation: { max_new_tokens: 20, min_new_tokens: 0, num_beams: 3 },
      on_invalid: "fail",
    });
    expect(await service.storage.describe({ bucket: serviceBucket, key: keys.marker }, { signal: forever })).not.toBeNull();
    expect(await service.ask(`/v1/batches/${answer.body.id}`)).toMatchObject({ status: 200, body: answer.body });
  });

  it("counts its times by the clock that deadlines are judged by, whatever the api's own says", async () => {
    const now = Math.floor(Date.now() / 1_000);
    const clock = vi.spyOn(Date, "now").mockReturnValue((now - 86_400) * 1_000);
    const answer = await submit({}).finally(() => clock.mockRestore());
    expect(answer.status, answer.text).toBe(200);
    expect(answer.body.created_at).toBeGreaterThanOrEqual(now);
    expect(answer.body.expires_at).toBe(answer.body.created_at + 86_400);
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

  it("freezes how images become pixels: exactly, unless fast is asked for", async () => {
    expect(await stored(batchKeys(await submitted()).request)).toMatchObject({ pixels: "exact" });
    expect(await stored(batchKeys(await submitted({ pixels: "fast" })).request)).toMatchObject({ pixels: "fast" });
  });

  it("freezes which columns are whose and what of a prefix is meant, and nothing where nobody said", async () => {
    const columns = { image: "url", custom_id: "id" };
    expect(await stored(batchKeys(await submitted({ columns })).request)).toMatchObject({ columns });
    await service.put(imagesBucket, "a.jpg", "whatever a worker finds");
    const narrowed = { input: "s3://demo-images/", include: ["**/*.jpg"], exclude: ["drafts/"] };
    expect(await stored(batchKeys(await submitted(narrowed)).request)).toMatchObject(narrowed);
    for (const field of ["columns", "include", "exclude"]) {
      expect(await stored(batchKeys(await submitted()).request)).not.toHaveProperty(field);
    }
  });

  it("takes a manifest for what its name says", async () => {
    for (const name of ["table.csv", "table.TSV.gz", "table.parquet", "lines.ndjson.zst"]) {
      await service.put(imagesBucket, name, "whatever plan finds");
      expect((await submit({ input: `s3://${imagesBucket}/${name}` })).status, name).toBe(200);
    }
  });

  it("takes a prefix or a pattern for input, where something matches it", async () => {
    await service.put(imagesBucket, "2024/may/a.png", "whatever a worker finds");
    for (const input of ["s3://demo-images/", "s3://demo-images/2024/**/*.{jpg,png}"]) expect((await submit({ input })).status).toBe(200);
    await service.put(imagesBucket, "empty.jsonl", "");
    const empty = { status: 400, body: { error: { code: "empty_file", param: "input" } } };
    for (const input of [
      "s3://demo-images/none/",
      "s3://demo-images/2024/*.png",
      "s3://demo-images/2024/**/*.gif",
      "s3://demo-images/empty.jsonl",
    ])
      expect(await submit({ input }), input).toMatchObject(empty);
    expect(await submit({ input: "s3://demo-images/2024/", exclude: ["may/"] })).toMatchObject(empty);
  });

  it("wants the words that a task needs and a prefix's images don't bring", async () => {
    const input = "s3://demo-images/";
    for (const [task, param, words] of [
      ["vqa", "question", "What?"],
      ["prompt", "prompt", "The colour is"],
      ["classify", "labels", ["a bird", "a cat"]],
    ] as const) {
      expect(await submit({ task, input })).toMatchObject({ status: 400, body: { error: { code: "invalid_request", param } } });
      expect((await submit({ task, input, [param]: words })).status).toBe(200);
      // A manifest's lines may bring their own.
      expect((await submit({ task })).status).toBe(200);
    }
  });

  it("says where a body doesn't fit", async () => {
    const cases: [object, string][] = [
      [{ task: "sing" }, "task"],
      [{ input: "photos/" }, "input"],
      [{ input: "s3://demo-images/one.jpg" }, "input"],
      [{ input: "s3://demo-images/table.xlsx" }, "input"],
      [{ input: "s3://demo-images/table.parquet.gz" }, "input"],
      [{ columns: { picture: "url" } }, "columns.picture"],
      [{ columns: { image: "" } }, "columns.image"],
      [{ input: "s3://demo-images/", columns: { image: "url" } }, "columns"],
      [{ include: ["*.jpg"] }, "include"],
      [{ exclude: ["*.jpg"] }, "exclude"],
      [{ input: "s3://demo-images/", include: [] }, "include"],
      [{ input: "s3://demo-images/", exclude: ["{a"] }, "exclude"],
      [{ input: "s3://demo-images/", include: ["{a,b}".repeat(7)] }, "include"],
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
      [{ pixels: "blurred" }, "pixels"],
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

  it("says in plain words what doesn't fit", async () => {
    const cases: [object, string][] = [
      [{ task: "sing" }, "task: must be one of caption, vqa, classify, prompt"],
      [{ model: undefined }, "model: is needed"],
      [{ model: 7 }, "model: must be a text"],
      [{ generation: { max_new_tokens: 0 } }, "generation.max_new_tokens: must be at least 1"],
      [{ generation: { temperature: 0 } }, "generation.temperature: must be more than 0"],
      [{ examples: "none" }, "examples: must be a list"],
      [{ examples: [{ text: 4 }] }, "examples[0].text: must be a text"],
      [{ inptu: "s3://demo-images/" }, "inptu: is not a known field"],
    ];
    for (const [changes, message] of cases) expect((await submit(changes)).body.error.message).toBe(message);
    expect((await service.ask("/v1/batches", { method: "POST", body: "[]" })).body.error.message).toBe("The request must be an object.");
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

    // Also where Redis knows nothing of it, and S3 speaks for the id.
    const request = await stored(batchKeys(first.body.id).request);
    const lost = await service.queue.reserve({ tenant: "demo", idempotencyKey: "lost", bodyHash: bodyHashOf(body) });
    await service.put(serviceBucket, batchKeys(lost.id).request, JSON.stringify({ ...request, id: lost.id, idempotency_key: "lost" }));
    expect(await submit(body, { "idempotency-key": "lost" })).toMatchObject({ status: 200, body: { id: lost.id } });
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
    const crashed = await service.queue.reserve({ tenant: "demo", idempotencyKey: "six", bodyHash: bodyHashOf() });
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

    // One of which there is more was lost with Redis, and couldn't be rebuilt yet: it is never begun anew.
    const lost = await service.queue.reserve({ tenant: "demo", idempotencyKey: "seven", bodyHash: bodyHashOf() });
    await service.put(serviceBucket, batchKeys(lost.id).request, JSON.stringify({ ...frozen, id: lost.id, idempotency_key: "seven" }));
    await service.put(serviceBucket, batchKeys(lost.id).plan("p").manifest, "{}");
    expect(await submit({}, { "idempotency-key": "seven" })).toMatchObject({
      status: 503,
      body: { error: { code: "service_unavailable" } },
    });
    expect(await service.queue.batch(lost.id)).toBeNull();
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

/** The hash that the api makes of the caption task's body, changed so: of its JSON with defaults filled in and keys in order. */
function bodyHashOf(further: object = {}): string {
  const body = {
    ...caption,
    ...further,
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
