/**
 * Images on their way from S3 to pixels: so many fetched at once, and no further fetch while those that wait to be decoded hold too many bytes.
 * Owns the two bounds. An image counts from the moment its fetch starts, first for an allowance (its size isn't known before), then for its bytes, until it is
 * decoded: what is held exceeds the bound by at most one image for each fetch slot. Pixels aren't counted: as many are held as rows are under way.
 */
import { Gate } from "./gate.ts";

export interface ReadAhead {
  /** Fetches and decodes one image. Rejects with what either of them throws, and with the signal's reason while it waits. */
  load<Pixels>(
    stages: { readonly fetch: () => Promise<Uint8Array>; readonly decode: (bytes: Uint8Array) => Promise<Pixels> },
    signal: AbortSignal,
  ): Promise<Pixels>;
}

export interface ReadAheadOptions {
  /** Images fetched at once. */
  readonly slots: number;
  readonly maxBytes: number;
}

/** What an image on its way counts for: more than most photographs have. */
const allowanceBytes = 1024 * 1024;

export function openReadAhead({ slots, maxBytes }: ReadAheadOptions): ReadAhead {
  const fetching = new Gate({ holders: slots });
  const held = new Gate({ holders: Infinity, weight: maxBytes });
  return {
    load: async ({ fetch, decode }, signal) => {
      // The slot first: whoever is let in by its bytes fetches at once, so that no more than one image a slot is on its way unweighed.
      const slot = await fetching.enter(signal);
      try {
        const image = await held.enter(signal, allowanceBytes);
        try {
          const bytes = await fetch();
          // Weighed before the slot is another's.
          image.weigh(bytes.length);
          slot.release();
          return await decode(bytes);
        } finally {
          image.release();
        }
      } finally {
        slot.release();
      }
    },
  };
}
