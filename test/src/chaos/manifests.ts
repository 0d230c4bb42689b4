/** What the rounds' batches are over: images, a few manifests of questions, and what each item answers where nothing fails. Owns the truth that rounds are held against. */
import { createHash } from "node:crypto";
import type { ResultLine } from "@flamboyance/contracts";
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { plainImage } from "@flamboyance/dev/plain-image";
import { jsonLine } from "@flamboyance/storage";
import { fewestItems, manifests } from "./plan-round.ts";
import { customerBucket, type Stage } from "./stage.ts";

export interface Manifest {
  readonly input: string;
  readonly customIds: readonly (string | null)[];
  /** What each line says where nothing fails (saying below), in order. */
  readonly truth: readonly string[];
  /** Of an image that one item alone shows; and that item's place among the lines. */
  readonly poisonSha256: string;
  readonly poisoned: number;
}

const images = 20;
const alone = plainImage(images);
const poisonSha256 = createHash("sha256").update(alone).digest("hex");
const put = { contentType: "image/png", signal: new AbortController().signal };

/** Uploads everything and runs each manifest once, without a fault. */
export async function writeManifests(stage: Stage): Promise<Manifest[]> {
  for (let number = 0; number < images; number++) {
    await stage.storage.write({ bucket: customerBucket, key: `${number}.png` }, plainImage(number), put);
  }
  await stage.storage.write({ bucket: customerBucket, key: "not-an-image.png" }, "no image", put);
  await stage.storage.write({ bucket: customerBucket, key: "alone.png" }, alone, put);
  return Promise.all(Array.from({ length: manifests }, (_, number) => writeManifest(stage, number)));
}

async function writeManifest(stage: Stage, number: number): Promise<Manifest> {
  const items = fewestItems + 17 * number;
  const poisoned = 50 + 25 * number;
  const lines = Array.from({ length: items }, (_, item) => {
    const custom_id = `${number}-${item}`;
    // Two lines that no item comes of, and items that fail by themselves.
    if (item % 90 === 30) return jsonLine({ custom_id, image: 7 });
    const image =
      item === poisoned
        ? "alone.png"
        : item % 40 === 7
          ? "gone.png"
          : item % 40 === 19
            ? "not-an-image.png"
            : `${(item * 7 + number) % images}.png`;
    return jsonLine({ custom_id, image: `s3://${customerBucket}/${image}`, question: `What is ${item}?` });
  });
  const key = `manifest-${number}.jsonl`;
  await stage.storage.write({ bucket: customerBucket, key }, lines.join(""), { ...put, contentType: "application/jsonl" });
  const input = `s3://${customerBucket}/${key}`;
  const { id } = await stage.client.batches.create({ model: noOpModelName, task: "vqa", input, on_invalid: "skip" });
  const batch = await stage.client.batches.wait(id, { intervalMs: 100, signal: AbortSignal.timeout(300_000) });
  if (batch.status !== "completed") throw new Error(`the manifest ended as ${batch.status} without a fault`);
  const found: ResultLine[] = [];
  for await (const line of stage.client.batches.results(id)) found.push(line);
  if (found.length !== items) throw new Error(`${items} lines came to ${found.length} without a fault`);
  return { input, customIds: found.map(({ custom_id }) => custom_id), truth: found.map(saying), poisonSha256, poisoned };
}

/** What a line says, apart from its ids and its time. */
export function saying({ response, error }: ResultLine): string {
  if (error !== null) return `${error.code} in line ${error.line ?? 0}`;
  const body = response?.body;
  if (body === undefined || "error" in body) return `${response?.status_code ?? 0} ${body?.error.code ?? ""}`;
  return JSON.stringify([body.choices, body.usage]);
}
