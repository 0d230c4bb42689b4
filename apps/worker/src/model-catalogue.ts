/**
 * The models of the catalogue in S3, copied to this machine. Owns the cache folder: a model lies there whole and with the hashes that its description states, or not at all.
 * Refuses to open models.
 */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { CodedError, modelIdentity, modelKeyOf, type ModelReference } from "@flamboyance/contracts";
import { readModelFolder, type ModelDescription } from "@flamboyance/model";
import { newUlid } from "@flamboyance/queue";
import { modelKeys, readModelDescription, type Storage } from "@flamboyance/storage";
import { z } from "zod";

/** What the copy needs of flamingo.json; the whole of it is the model package's. */
const copied = modelIdentity.extend({
  files: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/), z.object({ sizeBytes: z.int(), sha256: z.string() })),
});

const descriptionFile = "flamingo.json";

export interface CatalogueOptions {
  readonly storage: Storage;
  readonly bucket: string;
  readonly signal: AbortSignal;
}

export interface FoundModel extends ModelReference {
  /** flamingo.json's bytes. */
  readonly description: Uint8Array;
  readonly files: z.infer<typeof copied>["files"];
}

/** Throws storage_not_found where there is no such model, model_folder_invalid where its description isn't one. */
export async function findModel({ storage, bucket, signal }: CatalogueOptions, name: string): Promise<FoundModel> {
  const bytes = await readModelDescription(storage, bucket, name, signal);
  const parsed = copied.safeParse(parseJson(bytes));
  if (!parsed.success) throw new CodedError("model_folder_invalid", `${modelKeys(name).manifest} isn't a model's description`);
  return { name, key: modelKeyOf(parsed.data), description: bytes, files: parsed.data.files };
}

/** The folder of the model on this machine, copied and checked where it isn't there yet. Throws model_folder_invalid where a file isn't what the description says. */
export async function copyModel(
  options: CatalogueOptions,
  found: FoundModel,
  cache: string,
): Promise<{ folder: string; description: ModelDescription }> {
  const folder = join(cache, found.key);
  const there = await readModelFolder(folder).catch(() => null);
  if (there !== null) return { folder, description: there };
  // Written beside its place and renamed: another worker may be copying the same.
  const unfinished = join(cache, `.${found.key}-${newUlid()}`);
  await mkdir(unfinished, { recursive: true });
  try {
    for (const [file, { sha256 }] of Object.entries(found.files)) {
      const hash = await copyFile(options, `${modelKeys(found.name).folderPrefix}${file}`, join(unfinished, file));
      if (hash !== sha256)
        throw new CodedError("model_folder_invalid", `${found.name}: ${file} isn't the file that ${descriptionFile} names`);
    }
    await writeFile(join(unfinished, descriptionFile), found.description);
    await rename(unfinished, folder).catch(async (error: unknown) => {
      // The other worker was first; what lies there has the same content.
      if ((await readModelFolder(folder).catch(() => null)) === null) throw error;
    });
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return { folder, description: await readModelFolder(folder) };
}

async function copyFile({ storage, bucket, signal }: CatalogueOptions, key: string, path: string): Promise<string> {
  const hash = createHash("sha256");
  const hashed = async function* (pieces: AsyncIterable<Uint8Array>) {
    for await (const piece of pieces) {
      hash.update(piece);
      yield piece;
    }
  };
  await pipeline(storage.stream({ bucket, key }, { signal }), hashed, createWriteStream(path), { signal });
  return hash.digest("hex");
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return null;
  }
}
