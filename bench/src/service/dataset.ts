/** What the service is measured on: images and a manifest in the bench's own bucket, and whether the results hold every item. Owns both sides of that; refuses to know how they ran. */
import { plainImage } from "@flamboyance/dev/plain-image";
import { resultLine, type Batch } from "@flamboyance/contracts";
import { jsonLine, parseLocation, readLines, type Storage } from "@flamboyance/storage";

export const bucket = "bench";
export const manifest = `s3://${bucket}/manifest.jsonl`;

const uploadsAtOnce = 16;
const linesPerPiece = 1_000;

export interface Dataset {
  readonly items: number;
  /** Different ones; items take them in turn, so that neighbours differ. */
  readonly images: number;
  /** Pixels. */
  readonly imageSide: number;
}

export async function uploadDataset(storage: Storage, { items, images, imageSide }: Dataset, signal: AbortSignal): Promise<void> {
  await storage.ensureBucket(bucket, { signal });
  for (let first = 0; first < images; first += uploadsAtOnce) {
    const numbers = Array.from({ length: Math.min(uploadsAtOnce, images - first) }, (_, index) => first + index);
    await Promise.all(
      numbers.map((number) => {
        const location = { bucket, key: `images/${number}.png` };
        return storage.write(location, plainImage(number, imageSide), { contentType: "image/png", signal });
      }),
    );
  }
  await storage.writeStream({ bucket, key: "manifest.jsonl" }, manifestPieces(items, images), { contentType: "application/jsonl", signal });
}

async function* manifestPieces(items: number, images: number): AsyncGenerator<Uint8Array> {
  for (let first = 0; first < items; first += linesPerPiece) {
    const numbers = Array.from({ length: Math.min(linesPerPiece, items - first) }, (_, index) => first + index);
    const line = (item: number) => jsonLine({ custom_id: `item-${item}`, image: `s3://${bucket}/images/${(item * 7919) % images}.png` });
    yield Buffer.from(numbers.map(line).join(""));
  }
}

/** `right`, or what isn't: the batch completed, its counts are the items', and output.jsonl holds every item once, in order. */
export async function verdictOf(storage: Storage, batch: Batch, items: number, signal: AbortSignal): Promise<string> {
  const { total, completed, failed } = batch.request_counts;
  const counted = batch.status === "completed" && total === items && completed === items && failed === 0;
  if (counted && (await isWhole(storage, batch.results?.output, items, signal))) return "right";
  return `WRONG: ${JSON.stringify({ status: batch.status, total, completed, failed })}`;
}

async function isWhole(storage: Storage, location: string | undefined, items: number, signal: AbortSignal): Promise<boolean> {
  if (location === undefined) return false;
  let expected = 0;
  for await (const line of readLines(storage.stream(parseLocation(location), { signal }), { maxLineBytes: 1e6 })) {
    if (line.kind !== "line" || resultLine.parse(JSON.parse(line.text)).custom_id !== `item-${expected}`) return false;
    expected += 1;
  }
  return expected === items;
}
