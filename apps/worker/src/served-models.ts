/**
 * The models that this worker serves: found in the catalogue, copied, opened, announced, their chunks consumed.
 * Owns which are open. A model that can't be opened isn't served (its batches wait, and say so); it never fails a job. A new one in the catalogue is taken up,
 * and so is, at the next look, one whose engine was lost: until then this worker takes none of its chunks, and those in hand go back for others.
 */
import { isCoded } from "@flamboyance/contracts";
import type { ModelDescription } from "@flamboyance/model";
import type { Consumer } from "@flamboyance/queue";
import type { Storage } from "@flamboyance/storage";
import type { Engine } from "./engine.ts";
import type { ItemModel } from "./item.ts";
import { failure, type Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { copyModel, findModel, listModelNames } from "./model-catalogue.ts";

export interface ServedModelsDependencies {
  readonly storage: Storage;
  readonly bucket: string;
  readonly cache: string;
  /** Null: all of the catalogue. */
  readonly names: readonly string[] | null;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly open: (folder: string, description: ModelDescription) => Promise<Engine>;
  /** Starts taking the model's chunks. */
  readonly consume: (key: string, model: ItemModel) => Consumer;
  /** Takes back the announcement that the worker serves the model. */
  readonly withdraw: (key: string) => Promise<void>;
}

export interface ServedModels {
  /** Looks at the catalogue and opens what is new. */
  refresh(signal: AbortSignal): Promise<void>;
  /** The keys of the open models. */
  keys(): string[];
  /** Asks the engines for their figures. */
  collect(): Promise<void>;
  /** No further chunks; those running have `drainMs`. */
  stop(drainMs: number): Promise<void>;
  close(): Promise<void>;
}

interface Served {
  readonly name: string;
  readonly engine: Engine;
  readonly consumer: Consumer;
}

export function openServedModels(dependencies: ServedModelsDependencies): ServedModels {
  const { storage, bucket, cache, metrics, log, open, consume, withdraw } = dependencies;
  const served = new Map<string, Served>();
  // Lost ones, until their chunks have gone back.
  const leaving = new Set<Promise<void>>();

  const leave = (key: string, { name, engine, consumer }: Served) => {
    served.delete(key);
    metrics.modelsServed(served.size);
    log.error({ model: name, key, ...failure(engine.lost.reason) }, "a model is lost, and its chunks go back");
    const left = Promise.allSettled([withdraw(key), consumer.close()])
      .then(() => engine.close())
      .catch((error: unknown) => log.warn({ model: name, ...failure(error) }, "a lost model can't be closed"))
      .finally(() => leaving.delete(left));
    leaving.add(left);
  };

  const take = async (name: string, signal: AbortSignal) => {
    const found = await findModel({ storage, bucket, signal }, name);
    if (served.has(found.key)) return;
    const { folder, description } = await copyModel({ storage, bucket, signal }, found, cache);
    const engine = await open(folder, description);
    if (signal.aborted) {
      await engine.close();
      return;
    }
    const consumer = consume(found.key, {
      name,
      preprocessing: description.preprocessing,
      maxFrames: description.limits.maxFrames,
      engine,
    });
    const taken = { name, engine, consumer };
    served.set(found.key, taken);
    engine.lost.addEventListener("abort", () => leave(found.key, taken), { once: true });
    metrics.modelsServed(served.size);
    log.info({ model: name, key: found.key }, "serving");
  };

  return {
    refresh: async (signal) => {
      const names = dependencies.names ?? (await listModelNames({ storage, bucket, signal }));
      for (const name of names) {
        try {
          await take(name, signal);
        } catch (error) {
          if (signal.aborted) return;
          // Removed since it was listed: no loss.
          log[isCoded(error, "storage_not_found") ? "warn" : "error"]({ model: name, ...failure(error) }, "a model can't be served");
        }
      }
    },
    keys: () => [...served.keys()],
    collect: async () => {
      for (const { name, engine } of served.values()) {
        const stats = await engine.stats().catch(() => null);
        if (stats !== null) metrics.engine(name, stats);
      }
    },
    stop: async (drainMs) => {
      await Promise.all([...leaving, ...[...served.values()].map(({ consumer }) => consumer.close({ drainMs }))]);
    },
    close: async () => {
      await Promise.all([...leaving, ...[...served.values()].map(({ engine }) => engine.close())]);
    },
  };
}
