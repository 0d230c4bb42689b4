/** Items that show and ask the same run once: each still has its own line, in its place, and the summary says what was saved. */
import { plainImage } from "@flamboyance/dev/plain-image";
import { jsonLine, parseLocation } from "@flamboyance/storage";
import type { CreateDatasetBatchInput, ResultLine } from "@flamboyance/contracts";
import { afterAll, beforeAll, expect, it } from "vitest";
import { codesOf, customerBucket, startService, wholeBatch, type Service } from "./testing/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
  for (const name of ["1", "2", "3"]) await put(`same/${name}.png`, plainImage(Number(name)));
});
afterAll(() => service.close());

const { signal } = new AbortController();
const put = (key: string, bytes: Uint8Array | string) =>
  service.storage.write({ bucket: customerBucket, key }, bytes, { contentType: "application/octet-stream", signal });
const image = (name: string) => `s3://${customerBucket}/same/${name}.png`;

async function run(name: string, lines: readonly { custom_id: string }[], further: Partial<CreateDatasetBatchInput> = {}) {
  await put(`${name}.jsonl`, lines.map(jsonLine).join(""));
  const before = service.gate.asked().length;
  const { id } = await service.submit({ input: `s3://${customerBucket}/${name}.jsonl`, deduplicate: true, ...further });
  const batch = await service.ended(id);
  const results = await wholeBatch(
    service,
    id,
    lines.map(({ custom_id }) => custom_id),
  );
  const { bytes } = await service.storage.read(parseLocation(batch.results?.summary ?? ""), { signal });
  const summary = JSON.parse(Buffer.from(bytes).toString()) as {
    copied: { items: number; input_tokens: number };
    usage: { input_tokens: number };
  };
  return { batch, results, summary, ran: service.gate.asked().length - before };
}

/** Lines that the worker's metrics count, whoever's answer they have. */
async function countedLines(): Promise<number> {
  const text = await (await fetch(`${service.workers[0]?.url}/metrics`)).text();
  return [...text.matchAll(/^flamboyance_items_total\{.*\} (\d+)$/gm)].reduce((sum, [, figure]) => sum + Number(figure), 0);
}

const answerOf = ({ response }: ResultLine) => (response !== null && "choices" in response.body ? response.body.choices : null);
const tokensOf = ({ response }: ResultLine) => (response !== null && "choices" in response.body ? response.body.usage.prompt_tokens : 0);
const copies = (results: readonly ResultLine[]) => results.filter(({ flamingo }) => flamingo?.copied_from !== undefined);

it("runs a few of many, over chunks, and answers all as if each had run", async () => {
  const lines = Array.from({ length: 300 }, (_, at) => ({ custom_id: `item-${at}`, image: image(String((at % 3) + 1)) }));
  const before = await countedLines();
  const { batch, results, summary, ran } = await run("many-same", lines);
  expect((await countedLines()) - before).toBe(300);
  const copied = copies(results);
  expect(copied.length).toBe(300 - ran);
  expect(ran).toBeLessThan(100);
  const byId = new Map(results.map((line) => [line.id, line]));
  for (const [at, line] of results.entries()) {
    expect(line.flamingo?.images).toEqual(results[at % 3]?.flamingo?.images);
    expect(answerOf(line)).toEqual(answerOf(results[at % 3] ?? line));
  }
  // Of a line that ran itself.
  for (const { flamingo } of copied) expect(byId.get(flamingo?.copied_from ?? "")?.flamingo?.copied_from).toBeUndefined();
  const saved = copied.reduce((sum, line) => sum + tokensOf(line), 0);
  expect(summary.copied).toMatchObject({ items: copied.length, input_tokens: saved });
  expect(summary.usage.input_tokens).toBe(results.reduce((sum, line) => sum + tokensOf(line), 0) - saved);
  expect(batch.usage.input_tokens).toBe(summary.usage.input_tokens);
});

it("copies nothing of what is another in anything, or failed", async () => {
  const lines = [
    { custom_id: "a", image: image("1"), question: "Why?" },
    { custom_id: "g", image: image("1"), question: "Why?" },
    { custom_id: "b", image: image("1"), question: "How?" },
    { custom_id: "c", image: image("2"), question: "Why?" },
    { custom_id: "d", image: image("none") },
    { custom_id: "e", image: image("none") },
    { custom_id: "f", images: [image("1")], question: "Why?" },
  ];
  const { results } = await run("few-same", lines, { task: "vqa", question: "What?" });
  expect(codesOf(results)).toEqual(["ok", "ok", "ok", "ok", "image_not_found", "image_not_found", "ok"]);
  expect(copies(results).map(({ custom_id }) => custom_id)).toEqual(["g"]);
  expect(results[1]?.flamingo?.copied_from).toBe(results[0]?.id);
});

it("does so in a retry too, whose items have the numbers that they had", async () => {
  const lines = Array.from({ length: 200 }, (_, at) => ({ custom_id: `item-${at}`, image: image(at % 2 === 0 ? "1" : "late") }));
  const { batch } = await run("late-same", lines);
  await put("same/late.png", plainImage(4));
  const before = service.gate.asked().length;
  const again = await service.client.batches.retry(batch.id);
  await service.ended(again.id);
  const odd = lines.flatMap(({ custom_id }, at) => (at % 2 === 1 ? [custom_id] : []));
  const results = await wholeBatch(service, again.id, odd);
  expect(new Set(codesOf(results))).toEqual(new Set(["ok"]));
  const numbers = results.map(({ id }) => Number(/\d+$/.exec(id)?.[0]));
  expect(numbers).toEqual(odd.map((_, place) => 2 * place + 1));
  const places = new Map(results.map(({ id }, place) => [id, place]));
  const copied = results.flatMap(({ flamingo }, place) =>
    flamingo?.copied_from === undefined ? [] : [{ place, from: flamingo.copied_from }],
  );
  expect(copied.length).toBe(odd.length - (service.gate.asked().length - before));
  for (const { from } of copied) expect(results[places.get(from) ?? -1]?.flamingo?.copied_from).toBeUndefined();
  // Chunks of four: some took the answer of an earlier chunk's.
  expect(copied.some(({ place, from }) => Math.floor(place / 4) !== Math.floor((places.get(from) ?? place) / 4))).toBe(true);
});

it("runs each by itself where it samples, or is told to", async () => {
  const lines = Array.from({ length: 8 }, (_, at) => ({ custom_id: `item-${at}`, image: image("1") }));
  for (const further of [{ generation: { temperature: 1 } }, { deduplicate: false }]) {
    const { results, ran, summary } = await run("each", lines, further);
    expect({ ran, copied: copies(results).length, items: summary.copied.items }).toEqual({ ran: 8, copied: 0, items: 0 });
  }
});
