/**
 * What an item or a support example shows, as its model takes it: one image, some frames of an animation, or some of a list of images.
 * Owns which are looked at, and what a frame's fault means for the whole. Refuses to know how an image becomes pixels.
 */
import { CodedError } from "@flamboyance/contracts";
import { chooseFrames, type Media } from "@flamboyance/model";
import { isOwnFault } from "./fate.ts";

/** By location, or by whatever else names an image's bytes. */
export type Shown = { readonly image: string; readonly etag?: string | undefined } | { readonly images: readonly string[] };

/** One image to look at. */
export interface Source {
  readonly image: string;
  /** That it must have; null: any. */
  readonly etag: string | null;
  /** How many frames it gives where it is an animation; null: its first alone. */
  readonly frames: number | null;
  /** Where it stands in `images`; null for a single image. */
  readonly place: number | null;
}

/** `frames` as the batch asks for them, if it does; `maxFrames` as its model takes them. */
export function sourcesOf(shown: Shown, frames: number | undefined, maxFrames: number): readonly Source[] {
  if ("image" in shown) return [{ image: shown.image, etag: shown.etag ?? null, frames: frames ?? null, place: null }];
  const { images } = shown;
  return chooseFrames(images.length, frames ?? maxFrames).map((place) => ({ image: images[place] ?? "", etag: null, frames: null, place }));
}

/** How many frames the sources give at most. */
export function framesOf(sources: readonly Source[]): number {
  return sources.reduce((total, { frames }) => total + (frames ?? 1), 0);
}

/** A source's pixels, and what its bytes were. */
export interface LoadedImage {
  readonly frames: Media;
  /** Without quotes; null where the server tells none. */
  readonly etag: string | null;
  readonly sha256: string;
}

/** One whose bytes were seen and not decoded, for its item's answer was known. */
export type SeenImage = Omit<LoadedImage, "frames"> & { readonly frames: null };

/**
 * Loads all sources at once (how many of them run is the loader's to bound) and ends when all have ended: nothing of an item outlives it. Of several faults one that
 * passes comes first, then that of the earliest source, so that an item fails alike at each attempt; in a list it is named by its place. `frames` is null where one of them wasn't decoded.
 */
export async function loadMedia(
  sources: readonly Source[],
  load: (source: Source) => Promise<LoadedImage | SeenImage>,
): Promise<{ readonly frames: Media | null; readonly images: readonly Omit<LoadedImage, "frames">[] }> {
  const loaded = await Promise.allSettled(sources.map(load));
  const faults: unknown[] = [];
  let frames: Float32Array[] | null = [];
  const images: Omit<LoadedImage, "frames">[] = [];
  for (const [index, result] of loaded.entries()) {
    if (result.status === "fulfilled") {
      const { frames: own, ...facts } = result.value;
      frames = own === null || frames === null ? null : [...frames, ...own];
      images.push(facts);
    } else faults.push(atPlace(result.reason, sources[index]?.place ?? null));
  }
  if (faults.length > 0) throw faults.find((fault) => !isOwnFault(fault)) ?? faults[0];
  return { frames, images };
}

function atPlace(fault: unknown, place: number | null): unknown {
  if (place === null || !isOwnFault(fault)) return fault;
  return new CodedError(fault.code, `images[${place}]: ${fault.message}`, { cause: fault });
}
