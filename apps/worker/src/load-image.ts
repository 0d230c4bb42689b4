/** One image's way: bytes → pixels, between the bounds of what is read ahead. Owns what is timed, and that bytes whose item has its answer aren't decoded. */
import type { BatchRequest } from "@flamboyance/contracts";
import type { Media } from "@flamboyance/model";
import type { Decoder } from "./decode.ts";
import { fetchImage, type ImageSources } from "./fetch.ts";
import type { ItemClock } from "./item-clock.ts";
import type { ItemModel } from "./item.ts";
import type { LoadedImage, SeenImage, Source } from "./media.ts";
import type { Metrics } from "./metrics.ts";
import type { ReadAhead } from "./read-ahead.ts";

export interface ImageDependencies extends ImageSources {
  readonly serviceBucket: string;
  readonly decoder: Decoder;
  readonly readAhead: ReadAhead;
  readonly metrics: Metrics;
}

/** Whose image it is. For all items that show it at once, or soon after: the time is the first one's. */
interface Shower {
  readonly model: Pick<ItemModel, "preprocessing">;
  readonly request: BatchRequest;
  readonly clock: ItemClock;
}

export function loadImage(dependencies: ImageDependencies, shower: Shower, source: Source, signal: AbortSignal): Promise<LoadedImage> {
  const decode = decoding(dependencies, shower, source, signal);
  return load(dependencies, shower, source, signal, async (bytes) => {
    const [frames, sha256] = await Promise.all([decode(bytes), sha256Of(bytes)]);
    return { frames, sha256 };
  });
}

/** `answered`: whether the item has its answer, now that it is known what it shows. */
export function peekImage(
  dependencies: ImageDependencies,
  shower: Shower,
  source: Source,
  answered: (sha256: string) => Promise<boolean>,
  signal: AbortSignal,
): Promise<LoadedImage | SeenImage> {
  const decode = decoding(dependencies, shower, source, signal);
  return load(dependencies, shower, source, signal, async (bytes) => {
    const sha256 = await sha256Of(bytes);
    return { frames: (await answered(sha256)) ? null : await decode(bytes), sha256 };
  });
}

async function load<Frames>(
  dependencies: ImageDependencies,
  { request, clock }: Shower,
  { image, etag: wanted }: Source,
  signal: AbortSignal,
  look: (bytes: Uint8Array) => Promise<{ readonly frames: Frames; readonly sha256: string }>,
): Promise<{ readonly frames: Frames; readonly sha256: string; readonly etag: string | null }> {
  const { serviceBucket, readAhead, metrics } = dependencies;
  const owner = { access: request.access, serviceBucket };
  let told: string | null = null;
  const fetch = async () => {
    const get = () => fetchImage(dependencies, { image, etag: wanted }, owner, signal);
    const { bytes, etag } = await metrics.time("fetch", () => clock.time("fetch", get));
    told = etag;
    return bytes;
  };
  return { ...(await readAhead.load({ fetch, decode: look }, signal)), etag: told };
}

function decoding({ decoder, metrics }: ImageDependencies, { model, request, clock }: Shower, { frames }: Source, signal: AbortSignal) {
  const look = { preprocessing: model.preprocessing, frames, pixels: request.pixels };
  return (bytes: Uint8Array): Promise<Media> =>
    metrics.time("decode", () => clock.time("decode", () => decoder.decode(bytes, look, signal)));
}

/** Beside the main loop. */
async function sha256Of(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes))).toString("hex");
}
