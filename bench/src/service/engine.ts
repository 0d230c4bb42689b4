/**
 * What the service costs a real model: the same captions by the engine alone and through api, queue, one worker and S3, one after the other on the same machine. The service is timed from the
 * submit to the end, with its model open.
 */
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { serviceBucket } from "@flamboyance/dev/system";
import { readModelFolder } from "@flamboyance/model";
import { modelKeys, type Storage } from "@flamboyance/storage";
import { bucket, manifest, verdictOf } from "./dataset.ts";
import type { AloneJob } from "./engine-alone.ts";
import { machine, note, print } from "./figures.ts";
import { withSystem } from "./run-system.ts";

export interface EngineSetting {
  /** A model folder. */
  readonly model: string;
  readonly items: number;
}

const tokens = 20;
const beams = 3;
const warmUp = 8;
const imageSide = 256;
const modelName = "measured";

/** False where counts and lines don't agree. */
export async function measureEngine({ model, items }: EngineSetting, signal: AbortSignal): Promise<boolean> {
  const { precision } = await readModelFolder(model);
  note("the engine alone");
  const job: AloneJob = { folder: model, items, imageSide, warmUp, tokens, beams };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=@flamboyance/source", join(import.meta.dirname, "engine-alone.ts"), JSON.stringify(job)],
    { signal },
  );
  const alone = items / Number(stdout);
  note("the service");
  const dataset = { items, images: items, imageSide };
  const setting = {
    dataset,
    workers: 1,
    environment: { FLAMBOYANCE_ENGINE: "model" },
    prepare: (storage: Storage) => publish(storage, model, signal),
  };
  return withSystem(setting, signal, async ({ client, storage }) => {
    const caption = async (input: string) => {
      const { id } = await client.batches.create(
        { model: modelName, task: "caption", input, generation: { max_new_tokens: tokens, min_new_tokens: tokens, num_beams: beams } },
        { signal },
      );
      return client.batches.wait(id, { signal, intervalMs: 200 });
    };
    // The worker opens the model for the first rows.
    await caption(`s3://${bucket}/images/?.png`);
    const startedMs = performance.now();
    const batch = await caption(manifest);
    const through = items / ((performance.now() - startedMs) / 1_000);
    const verdict = await verdictOf(storage, batch, items, signal);
    print(
      `${items} captions of ${tokens} tokens, ${beams} beams, ${precision}, no examples`,
      machine,
      "",
      "| | items per second |",
      "|---|---:|",
      `| the engine alone | ${alone.toFixed(3)} |`,
      `| the whole service | ${through.toFixed(3)} |`,
      "",
      `whole service against the bare engine: ${(through / alone).toFixed(3)}, counts and lines ${verdict}`,
    );
    return verdict === "right";
  });
}

/** flamingo.json, which makes it a model of the catalogue, comes last. */
async function publish(storage: Storage, folder: string, signal: AbortSignal): Promise<void> {
  const names = (await readdir(folder)).toSorted((one, other) => Number(one === "flamingo.json") - Number(other === "flamingo.json"));
  for (const name of names) {
    const location = { bucket: serviceBucket, key: modelKeys(modelName).folderPrefix + name };
    await storage.writeStream(location, createReadStream(join(folder, name)), { contentType: "application/octet-stream", signal });
  }
}
