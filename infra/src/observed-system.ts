/** A running service with a real, tiny model, for looking at its figures: Redis, S3, api and one worker as processes. */
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createClient } from "@flamboyance/client";
import type { Batch } from "@flamboyance/contracts";
import { plainImage } from "@flamboyance/dev/plain-image";
import { startTestServer } from "@flamboyance/dev/s3";
import { serviceBucket, startSystem, type System } from "@flamboyance/dev/system";
import { importModel } from "@flamboyance/model";
import { modelKeys, openStorage, type Storage } from "@flamboyance/storage";
import { root } from "./root.ts";

export interface ObservedSystem {
  readonly system: System;
  /** Captions a few images, one of which isn't one; resolves with the ended batch. */
  runBatch(): Promise<Batch>;
  close(): Promise<void>;
}

const modelName = "tiny";
const customerBucket = "customer";
const images = 12;

export async function startObservedSystem(folder: string, signal: AbortSignal): Promise<ObservedSystem> {
  const s3 = await startTestServer();
  const storage = openStorage({ ...s3, pathStyle: true });
  try {
    const environment = { FLAMBOYANCE_ENGINE_THREADS: "1", FLAMBOYANCE_DECODE_THREADS: "1", FLAMBOYANCE_RECONCILE_SECONDS: "1" };
    const system = await startSystem({ folder, s3, environment }, async () => {
      for (const bucket of [serviceBucket, customerBucket]) await storage.ensureBucket(bucket, { signal });
      await publishModel(storage, join(folder, "model"), signal);
      await writeImages(storage, signal);
    });
    const client = createClient({ baseUrl: system.apiUrl, apiKey: system.apiKey });
    return {
      system,
      runBatch: async () => {
        const output = `s3://${customerBucket}/results/`;
        const { id } = await client.batches.create({ model: modelName, task: "caption", input: `s3://${customerBucket}/images/`, output });
        return client.batches.wait(id, { intervalMs: 100, signal });
      },
      close: async () => {
        await system.close();
        storage.close();
        await s3.close();
      },
    };
  } catch (error) {
    storage.close();
    await s3.close();
    throw error;
  }
}

/** The smallest of the reference models, imported as an operator would. */
async function publishModel(storage: Storage, folder: string, signal: AbortSignal): Promise<void> {
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
}

async function writeImages(storage: Storage, signal: AbortSignal): Promise<void> {
  for (let number = 0; number < images; number++) {
    const location = { bucket: customerBucket, key: `images/${number}.png` };
    await storage.write(location, plainImage(number), { contentType: "image/png", signal });
  }
  await storage.write({ bucket: customerBucket, key: "images/words.png" }, "not an image", { contentType: "image/png", signal });
}
