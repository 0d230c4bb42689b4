/**
 * Bytes of objects that never change, read by pages, which stay here for who reads on beside them. Owns a bounded number of bytes, used longest ago out first.
 * Refuses to know what the bytes mean.
 */
import type { Location, Storage } from "@flamboyance/storage";
import { untilAborted } from "../until-aborted.ts";

export interface Pages {
  /** Throws passing faults, and storage_not_found; the next call tries again. The caller's signal ends its wait alone. */
  read(
    object: Location & { readonly sizeBytes: number },
    range: { readonly offsetBytes: number; readonly lengthBytes: number },
    signal: AbortSignal,
  ): Promise<Buffer>;
}

const pageBytes = 64 * 1_024;

export function openPages({
  storage,
  maxBytes,
  signal: whole,
}: {
  readonly storage: Pick<Storage, "readRange">;
  readonly maxBytes: number;
  /** Ends the reading itself. */
  readonly signal: AbortSignal;
}): Pages {
  const held = new Map<string, Page>();
  const open = ({ bucket, key, sizeBytes }: Location & { readonly sizeBytes: number }, number: number): Page => {
    const name = `${number} ${bucket} ${key}`;
    const known = held.get(name);
    const page = known ?? start({ bucket, key }, number * pageBytes, sizeBytes);
    // Used last, dropped last.
    held.delete(name);
    held.set(name, page);
    if (known === undefined) page.reading.catch(() => held.delete(name));
    const [oldest] = held.keys();
    // Each counts as a whole one.
    if (held.size * pageBytes > maxBytes && oldest !== undefined) held.delete(oldest);
    return page;
  };
  const start = (location: Location, offsetBytes: number, sizeBytes: number): Page => {
    const lengthBytes = Math.min(pageBytes, sizeBytes - offsetBytes);
    const reading = storage.readRange(location, { offsetBytes, lengthBytes, signal: whole });
    const page: Page = { reading, bytes: null };
    reading.then(
      (bytes) => (page.bytes = bytes),
      () => {},
    );
    return page;
  };
  return {
    read: async (object, { offsetBytes, lengthBytes }, signal) => {
      if (offsetBytes + lengthBytes > object.sizeBytes) throw new RangeError(`${object.key} has no ${lengthBytes} bytes at ${offsetBytes}`);
      const first = Math.floor(offsetBytes / pageBytes);
      const count = Math.max(0, Math.ceil((offsetBytes + lengthBytes) / pageBytes) - first);
      const found: Uint8Array[] = [];
      for (const page of Array.from({ length: count }, (_, at) => open(object, first + at)))
        found.push(page.bytes ?? (await untilAborted(page.reading, signal)));
      const from = offsetBytes - first * pageBytes;
      const [only] = found;
      const bytes =
        found.length === 1 && only !== undefined ? Buffer.from(only.buffer, only.byteOffset, only.length) : Buffer.concat(found);
      return bytes.subarray(from, from + lengthBytes);
    },
  };
}

interface Page {
  readonly reading: Promise<Uint8Array>;
  /** Once it is here: most looks are at pages that are, and needn't wait. */
  bytes: Uint8Array | null;
}
