import { testServers } from "@flamboyance/dev/s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { confirm, finish, linesOf, plan, record } from "./hand-worker.ts";
import { imagesBucket, startService, type Service } from "./service.ts";

describe.each(testServers())("on the $name S3", (server) => {
  let service: Service;
  beforeAll(async () => {
    service = await startService({ server });
  });
  afterAll(() => service.close());

  const body = { model: "demo", task: "caption", input: `s3://${imagesBucket}/manifest.jsonl`, output: "s3://demo-results/out/" };

  it("a batch goes its whole way: submitted under a key, read while it runs, over its end, and from S3", async () => {
    const headers = { "idempotency-key": "once" };
    const answers = await Promise.all([1, 2].map(() => service.ask("/v1/batches", { method: "POST", body, headers })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    const id: string = answers[0]?.body.id;
    expect(answers[1]?.body.id).toBe(id);

    const made = await plan(
      service,
      id,
      [3, 2, 2],
      [
        [1, 0],
        [6, 4],
      ],
    );
    await record(service, made, [0, 1, 2]);
    await confirm(service, made, 2);
    const read = (after: string | null) => service.ask(`/v1/batches/${id}/results?limit=3${after === null ? "" : `&after=${after}`}`);
    const seen: string[] = [];
    let page = await read(null);
    for (;;) {
      seen.push(...page.body.data.map((line: { id: string }) => line.id));
      if (!page.body.has_more) break;
      page = await read(page.body.next);
    }
    expect(seen).toHaveLength(7);
    await finish(service, made);
    while (page.body.next !== null) {
      page = await read(page.body.next);
      seen.push(...page.body.data.map((line: { id: string }) => line.id));
    }
    expect(seen).toEqual(linesOf(made).map((line) => line.id));
    expect((await service.ask(`/v1/batches/${id}`)).body).toMatchObject({
      status: "completed",
      request_counts: { total: 9, completed: 5, failed: 4 },
    });
  });

  it("what isn't there is said so", async () => {
    const submit = (changes: object) => service.ask("/v1/batches", { method: "POST", body: { ...body, ...changes } });
    expect((await submit({ input: "s3://demo-images/none.jsonl" })).body.error).toMatchObject({
      code: "manifest_not_found",
      param: "input",
    });
    expect((await submit({ input: "s3://demo-none/folder/" })).body.error).toMatchObject({ code: "manifest_not_found", param: "input" });
    expect((await submit({ output: "s3://demo-none/" })).body.error).toMatchObject({ code: "output_not_writable", param: "output" });
    expect((await submit({ model: "none" })).body.error).toMatchObject({ code: "model_not_found", param: "model" });
    expect((await service.ask("/v1/batches/batch_01hzzzzzzzzzzzzzzzzzzzzzzz")).status).toBe(404);
  });
});
