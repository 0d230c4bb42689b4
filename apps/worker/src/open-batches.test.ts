import type { Plan } from "@flamboyance/contracts";
import type { Preprocessing } from "@flamboyance/model";
import type { Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { holdOpenBatches } from "./open-batches.ts";
import { requestOf } from "./testing/request.ts";

const request = requestOf();
const plan: Plan = { plan: "p", items: 1, chunks: 1, refused: 0, items_sha256: "", examples: [] };
const preprocessing: Preprocessing = { imageSize: 8, mean: [0, 0, 0], std: [1, 1, 1] };

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
  const given = batches.open(request.id, plan.plan, preprocessing, job.signal);
  job.abort(new Error("the worker is closing"));
  await expect(given).rejects.toThrow("the worker is closing");

  const next = batches.open(request.id, plan.plan, preprocessing, new AbortController().signal);
  answers.resolve(undefined);
  expect(await next).toEqual({ request, plan, prefix: null });
  expect(reads).toBe(2);
});
