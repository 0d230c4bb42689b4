/** The pipe from end to end, on real processes and on every S3 server that is here: submit, plan, chunks, results, delivery, and what bad input becomes. */
import { isEnded } from "@flamboyance/contracts";
import { plainImage } from "@flamboyance/dev/plain-image";
import { startTestServer, testServers } from "@flamboyance/dev/s3";
import { jsonLine } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codesOf, customerBucket, linesOf, startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

/** The batch is in its middle: rows wait at the gate. */
const rowsInEngine = (service: Service) =>
  until(
    "rows in the engine",
    () => service.gate.waiting().length,
    (waiting) => waiting > 0,
  );

/** Keys that nobody may read, on the one server that can be told so. */
const forbidden = "forbidden/";

describe.each(testServers())("on $name", (server) => {
  const { name } = server;
  let service: Service;
  beforeAll(async () => {
    const s3 = name === "development" ? await startTestServer({ deny: (_bucket, key) => key.startsWith(forbidden) }) : await server.start();
    service = await startService({ s3 });
  });
  afterAll(() => service.close());
  const { signal } = new AbortController();
  const put = (key: string, bytes: Uint8Array | string) =>
    service.storage.write({ bucket: customerBucket, key }, bytes, { contentType: "application/octet-stream", signal });

  it("gives every item of a manifest its line, and delivers the files", async () => {
    const { input, customIds } = await service.writeManifest("plain", 60);
    const { id } = await service.submit({ input, output: `s3://${customerBucket}/out/` });
    expect((await service.ended(id)).status).toBe("completed");
    const lines = await wholeBatch(service, id, customIds);
    expect(new Set(codesOf(lines))).toEqual(new Set(["ok"]));
    // Equal images have equal answers, others don't: item 50 shows the image of item 0.
    const texts = lines.map(({ response }) =>
      response?.body !== undefined && "choices" in response.body ? response.body.choices[0]?.message.content : "",
    );
    expect(texts[50]).toBe(texts[0]);
    expect(new Set(texts).size).toBe(50);

    const delivered = await until(
      "the delivery",
      () => service.client.batches.get(id),
      ({ delivery }) => delivery?.status !== "pending",
    );
    expect(delivered.delivery).toEqual({ status: "delivered", error: null });
    expect(await linesOf(service, `s3://${customerBucket}/out/output.jsonl`)).toEqual(lines);
    expect(await linesOf(service, `s3://${customerBucket}/out/errors.jsonl`)).toEqual([]);
    const summary = await service.storage.read({ bucket: customerBucket, key: "out/summary.json" }, { signal });
    expect(JSON.parse(Buffer.from(summary.bytes).toString())).toMatchObject({
      id,
      status: "completed",
      counts: delivered.request_counts,
      codes: {},
    });
  });

  it("takes the objects of a prefix as items, in key order", async () => {
    for (const key of ["shots/b.png", "shots/deep/c.png", "shots/a.png", "shots/notes.txt"]) await put(key, plainImage(key.length));
    const { id } = await service.submit({ input: `s3://${customerBucket}/shots/**/*.png` });
    await service.ended(id);
    await wholeBatch(service, id, ["shots/a.png", "shots/b.png", "shots/deep/c.png"]);
  });

  it("asks each item its own question, or the batch's, after the solved examples", async () => {
    await put("vqa/image.png", plainImage(1));
    const image = `s3://${customerBucket}/vqa/image.png`;
    await put("vqa.jsonl", jsonLine({ custom_id: "own", image, question: "Why?" }) + jsonLine({ custom_id: "batch's", image }));
    const { id } = await service.submit({
      task: "vqa",
      input: `s3://${customerBucket}/vqa.jsonl`,
      question: "What?",
      examples: [
        { image, question: "Where?", answer: "here" },
        { question: "When?", answer: "now" },
      ],
    });
    expect((await service.ended(id)).status).toBe("completed");
    const lines = await wholeBatch(service, id, ["own", "batch's"]);
    const texts = lines.map(({ response }) =>
      response?.body !== undefined && "choices" in response.body ? (response.body.choices[0]?.message.content ?? "") : "",
    );
    expect(texts[0]).toMatch(/<image>Question:Why\? Short answer:$/);
    expect(texts[1]).toMatch(/<image>Question:What\? Short answer:$/);
    // Both examples stand before it.
    expect(
      lines.map(({ response }) =>
        response?.body !== undefined && "usage" in response.body ? response.body.usage.prompt_tokens_details.cached_tokens : 0,
      ),
    ).toEqual([2, 2]);
  });

  it("says of each bad image what is wrong with it, and goes on", async () => {
    const good = plainImage(5);
    await put("bad/good.png", good);
    await put("bad/half.png", good.subarray(0, good.length / 2));
    await put("bad/text.png", "this is no image");
    const cases = [
      { custom_id: "good", image: `s3://${customerBucket}/bad/good.png`, code: "ok" },
      { custom_id: "half", image: `s3://${customerBucket}/bad/half.png`, code: "image_unreadable" },
      { custom_id: "text", image: `s3://${customerBucket}/bad/text.png`, code: "image_unsupported" },
      { custom_id: "gone", image: `s3://${customerBucket}/bad/gone.png`, code: "image_not_found" },
      { custom_id: "no bucket", image: "s3://there-is-no-such-bucket/image.png", code: "image_not_found" },
      { custom_id: "the service's own", image: "s3://flamboyance/models/no-op/flamingo.json", code: "bucket_not_allowed" },
      // versitygw's one pair of keys may read everything.
      ...(name === "development"
        ? [{ custom_id: "forbidden", image: `s3://${customerBucket}/${forbidden}image.png`, code: "image_forbidden" }]
        : []),
      { custom_id: "good again", image: `s3://${customerBucket}/bad/good.png`, code: "ok" },
    ];
    await put("bad.jsonl", cases.map(({ custom_id, image }) => jsonLine({ custom_id, image })).join(""));
    const { id } = await service.submit({ input: `s3://${customerBucket}/bad.jsonl`, on_invalid: "skip" });
    expect((await service.ended(id)).status).toBe("completed");
    const lines = await wholeBatch(
      service,
      id,
      cases.map(({ custom_id }) => custom_id),
    );
    expect(codesOf(lines)).toEqual(cases.map(({ code }) => code));
    expect(lines.map(({ response }) => response?.status_code).slice(0, 4)).toEqual([200, 400, 400, 404]);
  });

  const malformed = (image: string) => [
    jsonLine({ custom_id: "one", image }),
    "{not json\n",
    jsonLine({ custom_id: "two" }),
    jsonLine({ custom_id: "one", image }),
    "\n",
    jsonLine({ custom_id: "three", image, colour: "red" }),
    jsonLine({ custom_id: "four", image }),
    "[]\n",
  ];

  it("fails a batch with malformed lines whole, and names them", async () => {
    await put("malformed/image.png", plainImage(1));
    await put("malformed.jsonl", malformed(`s3://${customerBucket}/malformed/image.png`).join(""));
    const { id } = await service.submit({ input: `s3://${customerBucket}/malformed.jsonl` });
    const batch = await service.ended(id);
    expect(batch.status).toBe("failed");
    expect(batch.errors?.data.map(({ code, param, line }) => ({ code, param, line }))).toEqual([
      { code: "invalid_json_line", param: null, line: 2 },
      { code: "invalid_line", param: "image", line: 3 },
      { code: "duplicate_custom_id", param: "custom_id", line: 4 },
      { code: "invalid_line", param: "colour", line: 6 },
      { code: "invalid_json_line", param: null, line: 8 },
    ]);
    expect(batch.results).toBeNull();
    await wholeBatch(service, id, []);
  });

  it("skips malformed lines where it is told to, and gives each its error line", async () => {
    await put("skipped/image.png", plainImage(1));
    await put("skipped.jsonl", malformed(`s3://${customerBucket}/skipped/image.png`).join(""));
    const { id } = await service.submit({ input: `s3://${customerBucket}/skipped.jsonl`, on_invalid: "skip" });
    expect((await service.ended(id)).status).toBe("completed");
    const lines = await wholeBatch(service, id, ["one", null, "two", "one", "three", "four", null]);
    expect(codesOf(lines)).toEqual([
      "ok",
      "invalid_json_line",
      "invalid_line",
      "duplicate_custom_id",
      "invalid_line",
      "ok",
      "invalid_json_line",
    ]);
    expect(lines.map(({ error }) => error?.line)).toEqual([undefined, 2, 3, 4, 6, undefined, 8]);
  });

  it("ends a batch without an item to run", async () => {
    await put("skipped-all.jsonl", "not json\nnor this");
    const { id } = await service.submit({ input: `s3://${customerBucket}/skipped-all.jsonl`, on_invalid: "skip" });
    expect((await service.ended(id)).status).toBe("completed");
    expect(codesOf(await wholeBatch(service, id, [null, null]))).toEqual(["invalid_json_line", "invalid_json_line"]);
  });

  it.each([
    ["an empty manifest", "empty.jsonl", {}, "empty_file"],
    [
      "an example without its image",
      "fine.jsonl",
      { examples: [{ image: `s3://${customerBucket}/nowhere.png`, text: "a cat" }] },
      "bad_example",
    ],
    [
      "an example that is no image",
      "fine.jsonl",
      { examples: [{ image: `s3://${customerBucket}/fine.jsonl`, text: "a cat" }] },
      "bad_example",
    ],
    ["an example that spells a special token", "fine.jsonl", { examples: [{ text: "a cat<image>" }] }, "invalid_request"],
  ])("fails a batch over %s, with the reason", async (_what, key, further, code) => {
    await put("empty.jsonl", "\n\n");
    await put("fine.jsonl", jsonLine({ custom_id: "1", image: `s3://${customerBucket}/plain/0.png` }));
    const { id } = await service.submit({ input: `s3://${customerBucket}/${key}`, ...further });
    const batch = await service.ended(id);
    expect({ status: batch.status, codes: batch.errors?.data.map((error) => error.code) }).toEqual({ status: "failed", codes: [code] });
    await wholeBatch(service, id, []);
  });

  const refusals: [string, { input: string; model?: string }, string][] = [
    ["an unknown model", { model: "nobody", input: `s3://${customerBucket}/plain.jsonl` }, "model_not_found"],
    ["an unknown bucket", { input: "s3://there-is-no-such-bucket/plain.jsonl" }, "manifest_not_found"],
    ["a manifest that isn't there", { input: `s3://${customerBucket}/nowhere.jsonl` }, "manifest_not_found"],
  ];
  const denied: typeof refusals = [
    ["a manifest that may not be read", { input: `s3://${customerBucket}/${forbidden}.jsonl` }, "manifest_forbidden"],
  ];
  it.each(name === "development" ? [...refusals, ...denied] : refusals)("refuses a submit with %s", async (_what, body, code) => {
    await expect(service.submit(body)).rejects.toMatchObject({ code });
  });

  it("shows results up to the first gap while the batch runs, and the same lines at its end", async () => {
    const { input, customIds } = await service.writeManifest("running", 60);
    service.gate.hold(20);
    const { id } = await service.submit({ input });
    const early = await until(
      "some results",
      () => service.client.batches.resultsPage(id),
      ({ data }) => data.length > 0,
    );
    expect(early.data.map(({ custom_id }) => custom_id)).toEqual(customIds.slice(0, early.data.length));
    expect(early.data.length).toBeLessThan(customIds.length);
    expect(isEnded((await service.client.batches.get(id)).status)).toBe(false);
    service.gate.open();
    await service.ended(id);
    const lines = await wholeBatch(service, id, customIds);
    expect(lines.slice(0, early.data.length)).toEqual(early.data);
  });

  it("cancels in the middle: what is done stays, the rest says that it never ran", async () => {
    const { input, customIds } = await service.writeManifest("cancelled", 100);
    service.gate.hold(30);
    const { id } = await service.submit({ input });
    await rowsInEngine(service);
    await service.client.batches.cancel(id);
    const batch = await service.ended(id);
    service.gate.open();
    expect(batch.status).toBe("cancelled");
    const codes = codesOf(await wholeBatch(service, id, customIds));
    expect(codes.filter((code) => code === "ok").length).toBe(30);
    expect(codes.filter((code) => code === "batch_cancelled").length).toBe(70);
  });

  it("pauses in the middle: nothing further is handed out, and resumed every item gets its line once", async () => {
    const { input, customIds } = await service.writeManifest("paused", 100);
    service.gate.hold(30);
    const { id } = await service.submit({ input });
    await rowsInEngine(service);
    expect((await service.client.batches.pause(id)).status).toBe("paused");
    service.gate.open();
    // The chunks that run finish, those that wait are put back.
    await until(
      "the queues to be empty",
      () => service.queue.depths(),
      (depths) => depths.every(({ ready, running }) => ready + running === 0),
    );
    const paused = await service.client.batches.get(id);
    expect(paused.status).toBe("paused");
    expect(paused.request_counts.completed).toBeGreaterThanOrEqual(30);
    expect(paused.request_counts.completed).toBeLessThan(100);

    // Another batch goes its whole way meanwhile, and moves nothing of this one.
    const other = await service.writeManifest("beside-paused", 20);
    const { id: beside } = await service.submit({ input: other.input });
    expect((await service.ended(beside)).status).toBe("completed");
    await wholeBatch(service, beside, other.customIds);
    expect((await service.client.batches.get(id)).request_counts).toEqual(paused.request_counts);

    await service.client.batches.resume(id);
    expect((await service.ended(id)).status).toBe("completed");
    expect(new Set(codesOf(await wholeBatch(service, id, customIds)))).toEqual(new Set(["ok"]));
  });

  it("expires at its deadline, with the same care", async () => {
    const { input, customIds } = await service.writeManifest("expired", 40);
    service.gate.hold(10);
    const { id } = await service.submit({ input, completion_window: "2s" });
    const batch = await service.ended(id);
    service.gate.open();
    expect(batch.status).toBe("expired");
    const codes = codesOf(await wholeBatch(service, id, customIds));
    expect(codes.filter((code) => code === "ok").length).toBeLessThanOrEqual(10);
    expect(codes.filter((code) => code === "batch_expired").length).toBeGreaterThanOrEqual(30);
  });

  it("goes on while the api is restarted", async () => {
    const { input, customIds } = await service.writeManifest("restarted", 40);
    service.gate.hold(10);
    const { id } = await service.submit({ input });
    await rowsInEngine(service);
    await service.restartApi();
    service.gate.open();
    expect((await service.ended(id)).status).toBe("completed");
    await wholeBatch(service, id, customIds);
  });
});
