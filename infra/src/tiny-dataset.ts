/** What a running service needs for a look at it: a tiny real model in the catalogue, a few images, and a batch over them. */
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createClient, type Client } from "@flamboyance/client";
import type { Batch } from "@flamboyance/contracts";
import { plainImage } from "@flamboyance/dev/plain-image";
import { serviceBucket } from "@flamboyance/dev/system";
import { importModel } from "@flamboyance/model";
import { modelKeys, type Storage } from "@flamboyance/storage";
import { root } from "./root.ts";

const modelName = "tiny";
const customerBucket = "customer";
const images = 12;

/** Fills an empty S3: the smallest of the reference models, imported as an operator would, and images, one of which isn't one. */
export async function writeTinyDataset(storage: Storage, folder: string, signal: AbortSignal): Promise<void> {
  for (const bucket of [serviceBucket, customerBucket]) await storage.ensureBucket(bucket, { signal });
  const pieces = join(root, "packages/model/reference/mpt");
  await importModel(
    { vision: join(pieces, "vision/model.safetensors"), languageModel: join(pieces, "lm"), checkpoint: join(pieces, "checkpoint.pt") },
    folder,
    { name: modelName, signal },
  );
  const last = "flamingo.json";
  const names = (await readdir(folder)).filter((name) => name !== last);
  for (const name of [...names, last]) {
    const location = { bucket: serviceBucket, key: modelKeys(modelName).folderPrefix + name };
    await storage.writeStream(location, createReadStream(join(folder, name)), { contentType: "application/octet-stream", signal });
  }
  for (let number = 0; number < images; number++) {
    const location = { bucket: customerBucket, key: `images/${number}.png` };
    await storage.write(location, plainImage(number), { contentType: "image/png", signal });
  }
  await storage.write({ bucket: customerBucket, key: "images/words.png" }, "not an image", { contentType: "image/png", signal });
}

/** Captions the images with the model; resolves with the ended batch. */
export async function runTinyBatch(api: { readonly apiUrl: string; readonly apiKey: string }, signal: AbortSignal): Promise<Batch> {
  const client: Client = createClient({ baseUrl: api.apiUrl, apiKey: api.apiKey });
  const input = `s3://${customerBucket}/images/`;
  const { id } = await client.batches.create({ model: modelName, task: "caption", input, output: `s3://${customerBucket}/results/` });
  return client.batches.wait(id, { intervalMs: 100, signal });
}

/** What the ended batch must say. */
export const tinyOutcome = { status: "completed", request_counts: { total: images + 1, completed: images, failed: 1 } } as const;
