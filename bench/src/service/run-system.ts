/** A whole service for as long as it is measured, with the model that costs nothing in its catalogue. Owns its folder and its end. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, type Client } from "@flamboyance/client";
import { publishNoOpModel } from "@flamboyance/dev/no-op-model";
import { serviceBucket, startSystem, type System } from "@flamboyance/dev/system";
import { openStorage, type Storage } from "@flamboyance/storage";
import { uploadDataset, type Dataset } from "./dataset.ts";

export interface RunningSystem {
  readonly system: System;
  readonly client: Client;
  readonly storage: Storage;
}

export interface SystemSetting {
  readonly dataset: Dataset;
  readonly workers: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** Puts further things into S3 before anything starts. */
  readonly prepare?: (storage: Storage) => Promise<void>;
}

export async function withSystem<Result>(
  { dataset, workers, environment = {}, prepare }: SystemSetting,
  signal: AbortSignal,
  measure: (running: RunningSystem) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-bench-"));
  try {
    const system = await startSystem(
      { folder, workers, environment: { FLAMBOYANCE_ENGINE: "none", FLAMBOYANCE_LOG_LEVEL: "warn", ...environment } },
      async (s3) => {
        const storage = openStorage({ ...s3, pathStyle: true });
        await storage.ensureBucket(serviceBucket, { signal });
        await publishNoOpModel(storage, serviceBucket, signal);
        await uploadDataset(storage, dataset, signal);
        await prepare?.(storage);
        storage.close();
      },
    );
    const storage = openStorage({ ...system.s3, pathStyle: true });
    try {
      return await measure({ system, storage, client: createClient({ baseUrl: system.apiUrl, apiKey: system.apiKey }) });
    } finally {
      storage.close();
      await system.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
