/** A reference model and the reference images in a service's S3. Owns where the pieces lie; refuses to know what they answer. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { serviceBucket } from "@flamboyance/dev/system";
import { importModel } from "@flamboyance/model";
import { modelKeys, type Storage } from "@flamboyance/storage";
import { customerBucket } from "./service.ts";

const reference = join(import.meta.dirname, "../../../packages/model/reference");
export const referenceImages = join(reference, "images");

/** Imports `packages/model/reference/<name>`, a MosaicGPT model in open_clip's form, into `folder`, and puts it into the catalogue under its name; its images go to `images/`. */
export async function publishReference(name: string, folder: string, storage: Storage, signal: AbortSignal): Promise<void> {
  const pieces = join(reference, name);
  await importModel(
    {
      vision: join(pieces, "vision/open_clip_model.safetensors"),
      languageModel: join(pieces, "lm-mpt-1b-redpajama-200b"),
      checkpoint: join(pieces, "checkpoint.pt"),
    },
    folder,
    { name },
  );
  await copy(folder, { bucket: serviceBucket, prefix: modelKeys(name).folderPrefix });
  await copy(referenceImages, { bucket: customerBucket, prefix: "images/" });

  async function copy(from: string, { bucket, prefix }: { readonly bucket: string; readonly prefix: string }): Promise<void> {
    for (const file of await readdir(from)) {
      const bytes = await readFile(join(from, file));
      await storage.write({ bucket, key: prefix + file }, bytes, { contentType: "application/octet-stream", signal });
    }
  }
}
