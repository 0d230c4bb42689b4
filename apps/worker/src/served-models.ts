/**
 * The models that this worker serves: found in the catalogue, copied, opened, announced, their chunks consumed.
 * Owns which are open. A model that can't be opened isn't served (its batches wait, and say so); it never fails a job. A new one in the catalogue is taken up,
 * and so is, at the next look, one whose engine was lost: until then this worker takes none of its chunks, and those in hand go back for others.
 * One that no name leads to any more (removed, or replaced by another content) is served on while a batch that isn't settled names it, and then closed.
 */
import { isCoded } from "@flamboyance/contracts";
import type { ModelDescription } from "@flamboyance/model";
import type { Consumer } from "@flamboyance/queue";
import { listModelNames, type Storage } from "@flamboyance/storage";
import type { Engine } from "./engine.ts";
import type { ItemModel } from "./item.ts";
import { failure, type Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { copyModel, findModel } from "./model-catalogue.ts";

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
  /** Whether a batch that isn't settled names the model. */
  readonly isWanted: (key: string) => Promise<boolean>;
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
  const { storage, bucket, cache, metrics, log, open, consume, withdraw, isWanted } = dependencies;
  const served = new Map<string, Served>();
  // Lost ones, until their chunks have gone back.
  const leaving = new Set<Promise<void>>();

  // Those that no name led to at the last look.
  let unnamed: ReadonlySet<string> = new Set();

  const leave = (key: string, { name, engine, consumer }: Served) => {
    if (!served.delete(key)) return;
    metrics.modelsServed(served.size);
    const left = Promise.allSettled([withdraw(key), consumer.close()])
      .then(() => engine.close())
      .catch((error: unknown) => log.warn({ model: name, ...failure(error) }, "a model can't be closed"))
      .finally(() => leaving.delete(left));
    leaving.add(left);
  };

  const lose = (key: string, lost: Served) => {
    log.error({ model: lost.name, key, ...failure(lost.engine.lost.reason) }, "a model is lost, and its chunks go back");
    leave(key, lost);
  };

  const retire = async (named: ReadonlySet<string>) => {
    const before = unnamed;
    unnamed = new Set([...served.keys()].filter((key) => !named.has(key)));
    for (const [key, model] of served) {
      // At the second look only: a submit that found its name before the first one may still have been under way.
      if (named.has(key) || !before.has(key) || (await isWanted(key))) continue;
      log.info({ model: model.name, key }, "no longer serving: it left the catalogue");
      leave(key, model);
    }
  };

  /** The key that the name leads to. */
  const take = async (name: string, signal: AbortSignal): Promise<string> => {
    const found = await findModel({ storage, bucket, signal }, name);
    if (served.has(found.key)) return found.key;
    const { folder, description } = await copyModel({ storage, bucket, signal }, found, cache);
    const engine = await open(folder, description);
    if (signal.aborted) {
      await engine.close();
      return found.key;
    }
    const consumer = consume(found.key, {
      name,
      preprocessing: description.preprocessing,
      maxFrames: description.limits.maxFrames,
      engine,
    });
    const taken = { name, engine, consumer };
    served.set(found.key, taken);
    engine.lost.addEventListener("abort", () => lose(found.key, taken), { once: true });
    metrics.modelsServed(served.size);
    log.info({ model: name, key: found.key, device: engine.device }, "serving");
    return found.key;
  };

  return {
    refresh: async (signal) => {
      const names = dependencies.names ?? (await listModelNames(storage, bucket, signal));
      const named = new Set<string>();
      let allLooked = true;
      for (const name of names) {
        try {
          named.add(await take(name, signal));
        } catch (error) {
          if (signal.aborted) return;
          allLooked &&= isCoded(error, "storage_not_found");
          // Removed since it was listed: no loss.
          log[isCoded(error, "storage_not_found") ? "warn" : "error"]({ model: name, ...failure(error) }, "a model can't be served");
        }
      }
      // Where one couldn't be looked at, nobody knows what it leads to.
      if (allLooked) await retire(named);
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
