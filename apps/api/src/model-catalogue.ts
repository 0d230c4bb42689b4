/**
 * Which models exist: what `models/<name>/flamingo.json` in the service's bucket say, kept for a short while.
 * Owns the catalogue's cache; refuses to know which models are served just now (the workers announce that to the queue).
 */
import { CodedError, isCoded, modelIdentity, modelKeyOf, type ModelReference } from "@flamboyance/contracts";
import { z } from "zod";
import { isModelName, listModelNames, modelKeys, readModelDescription, type Storage } from "@flamboyance/storage";

export interface CatalogueModel extends ModelReference {
  /** When its description was written, in Unix seconds. */
  readonly createdAt: number;
  /** That one media may have. */
  readonly maxFrames: number;
}

export interface ModelCatalogue {
  /** Every model, by name. */
  list(signal: AbortSignal): Promise<readonly CatalogueModel[]>;
  /** Throws `model_not_found`. */
  find(name: string, signal: AbortSignal): Promise<CatalogueModel>;
}

/** Only what the api needs of a model's description; the whole of it is the model package's. */
const description = modelIdentity.extend({ limits: z.object({ maxFrames: z.int().positive() }) });

/** `maxAgeSeconds`: how long an answer of S3 is good for. */
export function openCatalogue(storage: Storage, bucket: string, maxAgeSeconds: number): ModelCatalogue {
  const models = new Map<string, { readonly model: CatalogueModel; readonly freshUntilMs: number }>();
  let names: { readonly names: readonly string[]; readonly freshUntilMs: number } | null = null;
  const freshUntilMs = () => performance.now() + maxAgeSeconds * 1_000;

  async function find(name: string, signal: AbortSignal): Promise<CatalogueModel> {
    const kept = models.get(name);
    if (kept !== undefined && performance.now() < kept.freshUntilMs) return kept.model;
    const model = isModelName(name) ? await readModel(storage, bucket, name, signal) : null;
    if (model === null) {
      models.delete(name);
      throw new CodedError("model_not_found", `The catalogue holds no model ${JSON.stringify(name)}.`, { param: "model" });
    }
    models.set(name, { model, freshUntilMs: freshUntilMs() });
    return model;
  }

  async function list(signal: AbortSignal): Promise<readonly CatalogueModel[]> {
    if (names === null || performance.now() >= names.freshUntilMs) {
      names = { names: await listModelNames(storage, bucket, signal), freshUntilMs: freshUntilMs() };
    }
    const found: CatalogueModel[] = [];
    for (const name of names.names) {
      try {
        found.push(await find(name, signal));
      } catch (error) {
        // Removed since it was listed, or broken: no reason to hide the others.
        if (!isCoded(error, "model_not_found", "model_folder_invalid")) throw error;
      }
    }
    return found;
  }

  return { find, list };
}

async function readModel(storage: Storage, bucket: string, name: string, signal: AbortSignal): Promise<CatalogueModel | null> {
  const location = { bucket, key: modelKeys(name).manifest };
  const described = await storage.describe(location, { signal });
  if (described === null) return null;
  const found = parseDescription(await readModelDescription(storage, bucket, name, signal), location.key);
  const createdAt = Math.floor(described.lastModified.getTime() / 1_000);
  return { name, key: modelKeyOf(found), createdAt, maxFrames: found.limits.maxFrames };
}

function parseDescription(bytes: Uint8Array, key: string): z.infer<typeof description> {
  try {
    return description.parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch (error) {
    throw new CodedError("model_folder_invalid", `${key} isn't a model's description`, { cause: error });
  }
}
