import type { BatchRequest, Plan } from "@flamboyance/contracts";
import type { Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { holdOpenBatches, type ExampleModel } from "./open-batches.ts";
import { requestOf } from "./testing/request.ts";

const request = requestOf();
const plan: Plan = { plan: "p", items: 1, chunks: 1, refused: 0, items_sha256: "", stored_bytes: 0, examples: [] };
const model: ExampleModel = { preprocessing: { imageSize: 8, mean: [0, 0, 0], std: [1, 1, 1] }, maxFrames: 4 };

it("ends a caller's wait with its signal, and reads on for the next one", async () => {
  const answers = Promise.withResolvers<undefined>();
  let reads = 0;
  const used: Pick<Storage, "read"> = {
    read: async ({ key }) => {
      reads += 1;
      await answers.promise;
      return { bytes: Buffer.from(JSON.stringify(key.endsWith("plan.json") ? plan : request)), etag: "", contentType: null };
    },
  };
  const batches = holdOpenBatches({
    storage: used as Storage,
    bucket: "service",
    decoder: { decode: () => Promise.reject(new Error("nothing to decode")), close: () => Promise.resolve() },
    signal: new AbortController().signal,
  });
  const job = new AbortController();
  const given = batches.open(request.id, plan.plan, model, job.signal);
  job.abort(new Error("the worker is closing"));
  await expect(given).rejects.toThrow("the worker is closing");

  const next = batches.open(request.id, plan.plan, model, new AbortController().signal);
  answers.resolve(undefined);
  expect(await next).toMatchObject({ request, plan, prefix: null });
  expect(reads).toBe(2);
});

it("gives an example's video its frames: of an animation those asked for, of a list those of the law", async () => {
  const bytesOf = { sha256: "", size_bytes: 1 };
  const shown: BatchRequest = {
    ...request,
    frames: 2,
    examples: [
      { text: "none" },
      { image: "s3://photos/a.gif", text: "one" },
      { images: ["1", "2", "3", "4"].map((name) => `s3://photos/${name}`), text: "many" },
    ],
  };
  const planned: Plan = { ...plan, examples: [null, bytesOf, [bytesOf, bytesOf, bytesOf, bytesOf]] };
  const looked: string[] = [];
  const used: Pick<Storage, "read"> = {
    read: ({ key }) => {
      const text = key.endsWith("plan.json") ? JSON.stringify(planned) : key.endsWith("batch.json") ? JSON.stringify(shown) : key;
      return Promise.resolve({ bytes: Buffer.from(text), etag: "", contentType: null });
    },
  };
  const batches = holdOpenBatches({
    storage: used as Storage,
    bucket: "service",
    decoder: {
      decode: (bytes, { frames }) => {
        looked.push(
          `${Buffer.from(bytes)
            .toString()
            .replace(/^.*examples/, "")} ${frames ?? "first"}`,
        );
        return Promise.resolve(Array.from({ length: frames ?? 1 }, () => Float32Array.of(looked.length)));
      },
      close: () => Promise.resolve(),
    },
    signal: new AbortController().signal,
  });
  const { prefix } = await batches.open(request.id, plan.plan, model, new AbortController().signal);
  expect(looked).toEqual(["/1 2", "/2/1 first", "/2/3 first"]);
  expect(prefix?.passages.map(({ media }) => media.map((frames) => frames.map(([level]) => level)))).toEqual([[], [[1, 1]], [[2, 3]]]);
});
