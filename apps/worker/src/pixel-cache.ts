/**
 * Pixels of images that several items of a batch show (many questions about one image): fetched and decoded once while they stay here.
 * Owns a bounded number of bytes, used longest ago out first. Keyed by batch: another tenant's right to read an image is never taken for granted,
 * and a later batch sees an image's newest bytes. Keyed by what was taken of the image, too: an animation's first frame isn't its sampled ones.
 * (Exact and fast pixels never meet: a batch's are all of one kind, so its id tells them apart.)
 */
import { isOwnFault } from "./fate.ts";
import type { LoadedImage, Source } from "./media.ts";

export interface PixelCache {
  /** The source's pixels, from here or by `load`; a copy of its own for each caller. A failed load is kept only where it is the image's own fault. */
  get(
    batch: string,
    source: Pick<Source, "image" | "etag" | "frames">,
    load: () => Promise<LoadedImage>,
    signal: AbortSignal,
  ): Promise<LoadedImage>;
}

interface Entry {
  readonly loaded: Promise<LoadedImage>;
  bytes: number;
}

/** What a failure, or a load under way, counts for. */
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
  const start = (key: string, load: () => Promise<LoadedImage>): Entry => {
    const entry: Entry = { loaded: load(), bytes: 0 };
    entries.set(key, entry);
    weigh(key, entry, leastBytes);
    entry.loaded.then(
      ({ frames }) =>
        weigh(
          key,
          entry,
          frames.reduce((bytes, { byteLength }) => bytes + byteLength, 0),
        ),
      (error: unknown) => {
        if (!isOwnFault(error)) drop(key, entry);
      },
    );
    return entry;
  };

  return {
    get: async (batch, { image, etag, frames }, load, signal) => {
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
          const { frames: own, ...facts } = await entry.loaded;
          return { frames: own.map((frame) => frame.slice()), ...facts };
        } catch (error) {
          // Another item's load, given up with that item's chunk: this one loads for itself.
          if (known === undefined || isOwnFault(error)) throw error;
        }
      }
    },
  };
}
