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
  const held = new Map<string, Promise<Uint8Array>>();
  const page = ({ bucket, key, sizeBytes }: Location & { readonly sizeBytes: number }, number: number): Promise<Uint8Array> => {
    const name = `${number} ${bucket} ${key}`;
    const known = held.get(name);
    const offsetBytes = number * pageBytes;
    const lengthBytes = Math.min(pageBytes, sizeBytes - offsetBytes);
    const reading = known ?? storage.readRange({ bucket, key }, { offsetBytes, lengthBytes, signal: whole });
    // Used last, dropped last.
    held.delete(name);
    held.set(name, reading);
    if (known === undefined) reading.catch(() => held.delete(name));
    const [oldest] = held.keys();
    // Each counts as a whole one.
    if (held.size * pageBytes > maxBytes && oldest !== undefined) held.delete(oldest);
    return reading;
  };
  return {
    read: async (object, { offsetBytes, lengthBytes }, signal) => {
      if (offsetBytes + lengthBytes > object.sizeBytes) throw new RangeError(`${object.key} has no ${lengthBytes} bytes at ${offsetBytes}`);
      const first = Math.floor(offsetBytes / pageBytes);
      const count = Math.max(0, Math.ceil((offsetBytes + lengthBytes) / pageBytes) - first);
      const pages = await untilAborted(Promise.all(Array.from({ length: count }, (_, at) => page(object, first + at))), signal);
      const from = offsetBytes - first * pageBytes;
      return Buffer.concat(pages).subarray(from, from + lengthBytes);
    },
  };
}
