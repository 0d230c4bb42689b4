/**
 * Pixels of images that several items of a batch show (many questions about one image): fetched and decoded once while they stay here.
 * Owns a bounded number of bytes, used longest ago out first. Keyed by batch: another tenant's right to read an image is never taken for granted,
 * and a later batch sees an image's newest bytes. Keyed by what was taken of the image, too: an animation's first frame isn't its sampled ones.
 * (Exact and fast pixels never meet: a batch's are all of one kind, so its id tells them apart.)
 */
import { isOwnFault } from "./fate.ts";
import type { LoadedImage, SeenImage, Source } from "./media.ts";

export interface PixelCache {
  /** The source's pixels, from here or by `load`; a copy of its own for each caller. A failed load is kept only where it is the image's own fault. */
  get(
    batch: string,
    source: Pick<Source, "image" | "etag" | "frames">,
    load: () => Promise<LoadedImage>,
    signal: AbortSignal,
  ): Promise<LoadedImage>;
  /** The same where the bytes alone may do: what `load` didn't decode is kept as that, for `get` to load anew. */
  peek(
    batch: string,
    source: Pick<Source, "image" | "etag" | "frames">,
    load: () => Promise<LoadedImage | SeenImage>,
    signal: AbortSignal,
  ): Promise<LoadedImage | SeenImage>;
}

interface Entry {
  readonly loaded: Promise<LoadedImage | SeenImage>;
  bytes: number;
}

/** What a failure, a load under way, or an image that wasn't decoded counts for. */
const leastBytes = 1_024;

export function openPixelCache({ maxBytes }: { readonly maxBytes: number }): PixelCache {
  const entries = new Map<string, Entry>();
  let heldBytes = 0;

  const drop = (key: string, entry: Entry) => {
    if (entries.get(key) !== entry) return;
    entries.delete(key);
    heldBytes -= entry.bytes;
  };
  const weigh = (key: string, entry: Entry, bytes: number) => {
    if (entries.get(key) !== entry) return;
    heldBytes += bytes - entry.bytes;
    entry.bytes = bytes;
    for (const [oldest, old] of entries) {
      if (heldBytes <= maxBytes) return;
      drop(oldest, old);
    }
  };
  const start = (key: string, load: () => Promise<LoadedImage | SeenImage>): Entry => {
    const entry: Entry = { loaded: load(), bytes: 0 };
    entries.set(key, entry);
    weigh(key, entry, leastBytes);
    entry.loaded.then(
      ({ frames }) => weigh(key, entry, frames === null ? leastBytes : frames.reduce((bytes, { byteLength }) => bytes + byteLength, 0)),
      (error: unknown) => {
        if (!isOwnFault(error)) drop(key, entry);
      },
    );
    return entry;
  };

  const find = async <Found extends LoadedImage | SeenImage>(
    batch: string,
    { image, etag, frames }: Pick<Source, "image" | "etag" | "frames">,
    load: () => Promise<Found>,
    serves: (found: LoadedImage | SeenImage) => found is Found,
    signal: AbortSignal,
  ): Promise<Found> => {
    const key = `${batch} ${frames ?? "first"} ${etag ?? "any"} ${image}`;
    for (;;) {
      signal.throwIfAborted();
      const known = entries.get(key);
      const entry = known ?? start(key, load);
      if (known !== undefined) {
        // Used last, dropped last.
        entries.delete(key);
        entries.set(key, known);
      }
      try {
        const found = await entry.loaded;
        if (serves(found)) return found.frames === null ? found : { ...found, frames: found.frames.map((frame) => frame.slice()) };
        drop(key, entry);
      } catch (error) {
        // Another item's load, given up with that item's chunk: this one loads for itself.
        if (known === undefined || isOwnFault(error)) throw error;
      }
    }
  };

  return {
    get: (batch, source, load, signal) => find(batch, source, load, hasPixels, signal),
    peek: (batch, source, load, signal) => find(batch, source, load, isSeen, signal),
  };
}

function isSeen(_found: LoadedImage | SeenImage): _found is LoadedImage | SeenImage {
  return true;
}

function hasPixels(found: LoadedImage | SeenImage): found is LoadedImage {
  return found.frames !== null;
}
