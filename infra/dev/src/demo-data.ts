/**
 * What the demo's customer has in S3: pictures, a manifest of questions, solved examples; and what the service has: the demo model in its catalogue.
 * Owns these objects' names and the truth about each; the pictures themselves are drawn by the model package's demo.
 */
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { SupportExample } from "@flamboyance/contracts";
import { importModel } from "@flamboyance/model";
import { DEMO_MODEL_NAME, demoPieces, makeDemoScenes, makeSupportExamples } from "@flamboyance/model/demo";
import { jsonLine, modelKeys, type Storage } from "@flamboyance/storage";
import { serviceBucket } from "./system.ts";

export const customerBucket = "demo";

export interface Truth {
  readonly name: string;
  readonly caption: string;
  readonly question: string;
  readonly answer: string;
}

export interface DemoData {
  /** By custom_id: of the caption batch the image's key, of the question batch its name. */
  readonly truths: ReadonlyMap<string, Truth>;
  readonly captionInput: string;
  readonly questionInput: string;
  readonly captionExamples: readonly SupportExample[];
  readonly questionExamples: readonly SupportExample[];
}

/** Imports the demo model's pieces once per change of them, into `<cache>/model-<hash>`. Gives the folder. */
export async function importDemoModel(cache: string, signal: AbortSignal): Promise<string> {
  const pieces = demoPieces();
  const hash = createHash("sha256");
  for (const file of [pieces.vision, join(pieces.languageModel, "model.safetensors"), pieces.checkpoint]) hash.update(await readFile(file));
  const folder = join(cache, `model-${hash.digest("hex").slice(0, 16)}`);
  if (!existsSync(join(folder, "flamingo.json"))) await importModel(pieces, folder, { name: DEMO_MODEL_NAME, signal });
  return folder;
}

/** Puts a model folder into the catalogue; flamingo.json, which makes it one, comes last. */
export async function publishModel(storage: Storage, folder: string, signal: AbortSignal): Promise<void> {
  const { folderPrefix } = modelKeys(DEMO_MODEL_NAME);
  const names = (await readdir(folder)).toSorted((one, other) => Number(one === "flamingo.json") - Number(other === "flamingo.json"));
  for (const name of names) {
    const location = { bucket: serviceBucket, key: folderPrefix + name };
    await storage.writeStream(location, createReadStream(join(folder, name)), { contentType: "application/octet-stream", signal });
  }
}

/** Draws and uploads `count` pictures, the examples and the manifest; `onImage` hears of each picture that is there. */
export async function uploadImages(storage: Storage, count: number, onImage: () => void, signal: AbortSignal): Promise<DemoData> {
  const truths = new Map<string, Truth>();
  const lines: string[] = [];
  for await (const { name, bytes, mediaType, caption, question, answer } of makeDemoScenes({ seed: 1, count })) {
    signal.throwIfAborted();
    const key = `images/${name}`;
    await storage.write({ bucket: customerBucket, key }, bytes, { contentType: mediaType, signal });
    truths.set(key, { name, caption, question, answer }).set(name, { name, caption, question, answer });
    lines.push(jsonLine({ custom_id: name, image: `s3://${customerBucket}/${key}`, question }));
    onImage();
  }
  const manifest = { bucket: customerBucket, key: "questions.jsonl" };
  await storage.write(manifest, lines.join(""), { contentType: "application/jsonl", signal });

  const captionExamples: SupportExample[] = [];
  const questionExamples: SupportExample[] = [];
  for (const { name, bytes, mediaType, caption, question, answer } of await makeSupportExamples({ seed: 1, count: 4 })) {
    const key = `examples/${name}`;
    await storage.write({ bucket: customerBucket, key }, bytes, { contentType: mediaType, signal });
    const image = `s3://${customerBucket}/${key}`;
    captionExamples.push({ image, text: caption });
    questionExamples.push({ image, question, answer });
  }
  return {
    truths,
    captionInput: `s3://${customerBucket}/images/`,
    questionInput: `s3://${customerBucket}/questions.jsonl`,
    captionExamples,
    questionExamples,
  };
}
