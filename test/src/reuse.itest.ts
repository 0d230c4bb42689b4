/** Batches with `reuse`: what an earlier batch of the tenant answered to the same isn't run again, and nothing else is taken for the same. */
import { createClient, type Client } from "@flamboyance/client";
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { plainImage } from "@flamboyance/dev/plain-image";
import { serviceBucket } from "@flamboyance/dev/system";
import { batchKeys, jsonLine, parseLocation, reusePrefix } from "@flamboyance/storage";
import { end as endSchema, type CreateDatasetBatchInput, type ResultLine } from "@flamboyance/contracts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codesOf, customerBucket, startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ environment: { FLAMBOYANCE_SWEEP_SECONDS: "2" } });
  for (let number = 0; number < 40; number++) await put(`${number}.png`, plainImage(number));
});
afterAll(() => service.close());

const { signal } = new AbortController();
const put = (key: string, bytes: Uint8Array | string, bucket = customerBucket) =>
  service.storage.write({ bucket, key }, bytes, { contentType: "application/octet-stream", signal });
const image = (name: string | number) => `s3://${customerBucket}/${name}.png`;
const linesOf = (count: number, name = "item") =>
  Array.from({ length: count }, (_, at) => ({ custom_id: `${name}-${at}`, image: image(at), question: `What of ${at}?` }));

let runs = 0;
type Lines = readonly { readonly custom_id: string }[];

/** Runs a batch over these lines to its end, and tells what of it ran. */
async function run(lines: Lines, further: Partial<CreateDatasetBatchInput> = {}, client: Client = service.client) {
  const key = `run-${(runs += 1)}.jsonl`;
  await put(key, lines.map(jsonLine).join(""));
  const before = service.gate.asked().length;
  const { id } = await client.batches.create({
    model: noOpModelName,
    task: "vqa",
    input: `s3://${customerBucket}/${key}`,
    reuse: true,
    ...further,
  });
  const batch = await client.batches.wait(id, { intervalMs: 50, signal: AbortSignal.timeout(50_000) });
  const results = await Array.fromAsync(client.batches.results(id));
  return { id, batch, results, ran: service.gate.asked().length - before };
}

/** As `run`, with all that is looked at of an own batch. */
async function look(lines: Lines, further: Partial<CreateDatasetBatchInput> = {}) {
  const { id, batch, ran } = await run(lines, further);
  const results = await wholeBatch(
    service,
    id,
    lines.map(({ custom_id }) => custom_id),
  );
  const { bytes } = await service.storage.read(parseLocation(batch.results?.summary ?? ""), { signal });
  const summary = JSON.parse(Buffer.from(bytes).toString()) as Record<"copied" | "reused", { items: number; input_tokens: number }>;
  return { id, batch, results, ran, summary };
}

const completionOf = ({ response }: ResultLine) => {
  if (response === null || !("choices" in response.body)) return null;
  const { choices, usage, flamingo } = response.body;
  return { choices, usage, flamingo };
};
const reusedFrom = (results: readonly ResultLine[]) => results.map(({ flamingo }) => flamingo?.reused_from ?? null);

describe("a batch with reuse", () => {
  it("runs nothing that an earlier one ran, whatever the items and images are called there, and says what it saved", async () => {
    const first = await look(linesOf(40));
    expect(first).toMatchObject({ ran: 40, batch: { saved: { copied: 0, reused: 0 } }, summary: { reused: { items: 0 } } });
    const others = linesOf(40, "other").toReversed();
    for (let number = 0; number < 40; number += 2) await put(`moved/${number}.png`, plainImage(number));
    const moved = others.map((line, at) => (at % 2 === 0 ? line : { ...line, image: image(`moved/${39 - at}`) }));
    const second = await look([...moved, { custom_id: "new", image: image(3), question: "And now?" }]);
    expect(second.ran).toBe(1);
    const expected = first.results.toReversed();
    expect(second.results.slice(0, 40).map(completionOf)).toEqual(expected.map(completionOf));
    expect(reusedFrom(second.results)).toEqual([...expected.map(({ id }) => id), null]);
    expect(second.results[1]?.flamingo?.images).toMatchObject([
      { image: image("moved/38"), sha256: expected[1]?.flamingo?.images[0]?.sha256 },
    ]);
    expect(second.results[0]?.flamingo?.timings).toMatchObject({ decode_ms: 0, engine_ms: 0 });
    expect(second.batch.saved).toEqual({ copied: 0, reused: 40 });
    expect(second.summary.reused).toMatchObject({ items: 40, input_tokens: first.batch.usage.input_tokens });
    expect(second.batch.usage.input_tokens).toBe(
      second.results[40]?.response === null ? 0 : completionOf(second.results[40]!)?.usage.prompt_tokens,
    );

    // The third finds them in either, and names who ran.
    const third = await look(linesOf(40));
    expect(third.ran).toBe(0);
    expect(reusedFrom(third.results)).toEqual(first.results.map(({ id }) => id));
    expect(third.batch.usage.total_tokens).toBe(0);
  });

  it("isn't answered by a batch that didn't ask, and doesn't answer one", async () => {
    const lines = linesOf(3, "private").map((line) => ({ ...line, question: "Whose?" }));
    expect((await look(lines, { reuse: false })).ran).toBe(3);
    expect((await look(lines)).ran).toBe(3);
    expect((await look(lines, { reuse: false })).ran).toBe(3);
  });

  it("runs what differs in anything that decides an answer", async () => {
    const lines = [{ custom_id: "a", image: image("changing"), question: "Which colour?" }];
    await put("changing.png", plainImage(100));
    await put("shot.png", plainImage(101));
    const shot = [{ image: image("shot"), question: "q", answer: "a" }];
    const ran = async (further: Partial<CreateDatasetBatchInput> = {}, given: Lines = lines) => (await look(given, further)).ran;
    expect(await ran()).toBe(1);
    expect(await ran()).toBe(0);
    const changes: Partial<CreateDatasetBatchInput>[] = [
      { examples: shot },
      { examples: [{ ...shot[0], question: "q", answer: "b" }] },
      { generation: { num_beams: 1 } },
      { generation: { max_new_tokens: 6 } },
      { generation: { logprobs: true } },
      { pixels: "fast" },
      { frames: 1 },
      { task: "caption" },
    ];
    for (const further of changes) {
      const given = further.task === undefined ? lines : lines.map(({ question: _question, ...line }) => line);
      expect(await ran(further, given), JSON.stringify(further)).toBe(1);
    }
    expect(
      await ran(
        {},
        lines.map((line) => ({ ...line, question: "Which color?" })),
      ),
    ).toBe(1);
    // Other bytes under the same names: of an item, and of an example.
    await put("changing.png", plainImage(102));
    expect(await ran()).toBe(1);
    await put("shot.png", plainImage(103));
    expect(await ran({ examples: shot })).toBe(1);
  });

  it("tells a list of one image from an animation of which frames are asked", async () => {
    const one = [{ custom_id: "a", image: image(1), question: "Kind?" }];
    const list = [{ custom_id: "a", images: [image(1)], question: "Kind?" }];
    expect((await look(one, { frames: 1 })).ran).toBe(1);
    expect((await look(list, { frames: 1 })).ran).toBe(1);
    expect((await look(list, { frames: 1 })).ran).toBe(0);
  });

  it("of labels is answered with all of them and their scores", async () => {
    const lines = linesOf(4, "label").map(({ question: _question, ...line }) => line);
    const classify = { task: "classify" as const, labels: ["red", "green", "blue"] };
    const first = await look(lines, classify);
    const second = await look(lines, classify);
    expect(second.ran).toBe(0);
    expect(second.results.map(completionOf)).toEqual(first.results.map(completionOf));
    expect((await look(lines, { ...classify, rank_by: "sum" })).ran).toBe(4);
    expect((await look(lines, { ...classify, labels: ["green", "red", "blue"] })).ran).toBe(4);
  });

  it("needs a seed where it samples, and is then answered for the items of the same name alone", async () => {
    const sampled = { generation: { temperature: 1 } };
    await expect(run(linesOf(1), sampled)).rejects.toMatchObject({ status: 400, code: "invalid_request", param: "reuse" });
    const seeded = { generation: { temperature: 1, seed: 3 } };
    expect((await look(linesOf(3, "drawn"), seeded)).ran).toBe(3);
    expect((await look(linesOf(3, "drawn"), seeded)).ran).toBe(0);
    expect((await look(linesOf(3, "drawn anew"), seeded)).ran).toBe(3);
    expect((await look(linesOf(3, "drawn"), { generation: { temperature: 1, seed: 4 } })).ran).toBe(3);
  });

  it("copies within itself what it took from another, and counts either once", async () => {
    const lines = Array.from({ length: 30 }, (_, at) => ({ custom_id: `same-${at}`, image: image(at % 3), question: "Same?" }));
    await look(lines.slice(0, 2));
    const { ran, batch, results, summary } = await look(lines);
    expect(ran).toBeGreaterThan(0);
    const copied = results.filter(({ flamingo }) => flamingo?.copied_from !== undefined).length;
    expect(batch.saved).toEqual({ copied, reused: 30 - ran - copied });
    expect(batch.saved).toEqual({ copied: summary.copied.items, reused: summary.reused.items });
    expect(results.filter(({ flamingo }) => flamingo?.copied_from !== undefined && flamingo.reused_from !== undefined)).toEqual([]);
    expect(new Set(results.map((line) => JSON.stringify(completionOf(line)?.choices))).size).toBe(3);
  });

  it("takes answers, and no failure, in its retry too", async () => {
    const lines = [
      { custom_id: "there", image: image(1), question: "Late?" },
      { custom_id: "late", image: image("late"), question: "Late?" },
    ];
    const { id, results } = await look(lines);
    expect(codesOf(results)).toEqual(["ok", "image_not_found"]);
    await put("late.png", plainImage(50));
    expect((await look([{ ...lines[1]!, custom_id: "elsewhere" }])).ran).toBe(1);
    const before = service.gate.asked().length;
    const { id: again } = await service.client.batches.retry(id);
    await service.ended(again);
    const [late] = await wholeBatch(service, again, ["late"]);
    expect(late?.flamingo?.reused_from).toBeDefined();
    expect(service.gate.asked().length).toBe(before);
  });
});

describe("an answer", () => {
  it("is never another tenant's", async () => {
    const admin = createClient({ baseUrl: service.apiUrl, apiKey: service.adminKey });
    await admin.tenants.put("birds", { read: [customerBucket] });
    const { key } = await admin.keys.create({ tenant: "birds" });
    const birds = createClient({ baseUrl: service.apiUrl, apiKey: key });
    const lines = linesOf(3, "shared").map((line) => ({ ...line, question: "Theirs?" }));
    expect((await run(lines)).ran).toBe(3);
    const theirs = await run(lines, {}, birds);
    expect({ ran: theirs.ran, reused: reusedFrom(theirs.results) }).toEqual({ ran: 3, reused: [null, null, null] });
    expect((await run(lines, {}, birds)).ran).toBe(0);
  });

  it("is given for an image that can be read, and for no other", async () => {
    await put("shy.png", plainImage(60));
    const lines = [{ custom_id: "a", image: image("shy"), question: "Shy?" }];
    expect(codesOf((await look(lines)).results)).toEqual(["ok"]);
    await service.storage.remove([{ bucket: customerBucket, key: "shy.png" }], { signal });
    expect(codesOf((await look(lines)).results)).toEqual(["image_not_found"]);
  });

  it("goes with its batch: at once when that is deleted, and nothing of it is left", async () => {
    const lines = linesOf(5, "gone").map((line) => ({ ...line, question: "Gone?" }));
    const { id, ran } = await look(lines);
    expect(ran).toBe(5);
    const read = await look(lines);
    expect(read.ran).toBe(0);
    // Its results stay its own; what it took, it lends.
    await service.client.batches.delete(id);
    expect((await look(lines)).ran).toBe(0);
    for (const { id: each } of (await Array.fromAsync(service.client.batches.all())).filter((batch) => batch.saved.reused === 5))
      await service.client.batches.delete(each);
    expect((await look(lines)).ran).toBe(5);
    const left = async () => {
      const keys: string[] = [];
      for (const prefix of [reusePrefix, batchKeys(id).folderPrefix])
        for await (const { key } of service.storage.list({ bucket: serviceBucket, key: prefix }, { signal })) keys.push(key);
      return keys.filter((key) => key.includes(id) || key.includes(read.id));
    };
    await until("nothing to be left", left, (keys) => keys.length === 0);
  });

  it("isn't given from the moment that its batch's delete is decided, though all of it is still there", async () => {
    const lines = linesOf(2, "decided").map((line) => ({ ...line, question: "Decided?" }));
    const { id } = await look(lines);
    const decided = JSON.stringify({ tenant: "demo", deleted_at: 1, because: "asked" });
    await put(batchKeys(id).deleted, decided, serviceBucket);
    expect((await look(lines)).ran).toBe(2);
    expect(await service.storage.describe({ bucket: serviceBucket, key: batchKeys(id).end }, { signal })).not.toBeNull();
  });

  it.each(["nothing", "a word of the output", "the output", "the index", "the end"])(
    "is none where it isn't what was written: %s",
    async (what) => {
      const lines = linesOf(6, "broken").map((line) => ({ ...line, question: `And with ${what}?` }));
      const { id, results: first } = await look(lines);
      const { bytes } = await service.storage.read({ bucket: serviceBucket, key: batchKeys(id).end }, { signal });
      const final = batchKeys(id).final(endSchema.parse(JSON.parse(Buffer.from(bytes).toString())).seal);
      const output = Buffer.from((await service.storage.read({ bucket: serviceBucket, key: final.output }, { signal })).bytes).toString();
      const spoilt: Record<string, [string, string | Buffer]> = {
        // No schema minds.
        "a word of the output": [final.output, output.replaceAll(/"content":"...../g, '"content":"wrong')],
        "the output": [final.output, output.slice(0, 100)],
        "the index": [final.answers(0), Buffer.alloc(10_000, 255)],
        "the end": [batchKeys(id).end, "{}"],
      };
      const [key, wrong] = spoilt[what] ?? [];
      if (key !== undefined && wrong !== undefined) await put(key, wrong, serviceBucket);
      const again = await look(lines);
      expect(again.ran).toBe(what === "nothing" ? 0 : 6);
      expect(again.results.map((line) => completionOf(line)?.choices)).toEqual(first.map((line) => completionOf(line)?.choices));
    },
  );
});
