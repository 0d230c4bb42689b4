/** S3 as far as a manifest is read from it: one object, whole or in ranges, and the keys below a prefix. */
import type { Storage } from "@flamboyance/storage";
import { cut } from "./pieces.ts";

export function holding(manifest: Uint8Array | string, keys: readonly string[] = []): Storage {
  const bytes = Buffer.from(manifest);
  const used: Pick<Storage, "stream" | "list" | "describe" | "readRange"> = {
    stream: () => cut(bytes),
    describe: () => Promise.resolve({ sizeBytes: bytes.length, etag: '"1"', contentType: null, lastModified: new Date(0) }),
    readRange: (_location, { offsetBytes, lengthBytes }) => Promise.resolve(bytes.subarray(offsetBytes, offsetBytes + lengthBytes)),
    async *list({ key: prefix }) {
      for (const key of keys) if (key.startsWith(prefix)) yield { key, sizeBytes: 1, etag: `"of ${key}"`, lastModified: new Date(0) };
    },
  };
  return used as Storage;
}
