/**
 * S3 as a map. Owns the laws of its objects that can be told at a write: what was written once never changes, and what an end rests on isn't taken away.
 * Writes are whole and seen at once, as S3's are; faults aren't here, but in what the actors become.
 */
import { createHash } from "node:crypto";
import { CodedError } from "@flamboyance/contracts";
import { formatLocation, type Location, type Storage } from "@flamboyance/storage";

interface StoredObject {
  readonly bytes: Buffer;
  readonly lastModified: Date;
}

export interface MemoryStorage extends Storage {
  readonly objects: ReadonlyMap<string, StoredObject>;
  /** Grows with each write and removal. */
  version(): number;
}

/** Written again, these have the same bytes; other names are used once, or may change (the marker, the store's clock). */
const frozen = /\/(?:end\.json|batch\.json|final\/.*|seals\/.*|rebuilt\/.*|plan\/.*|parts\/.*)$/;

/** `broken` hears of each law that a write or a removal breaks. */
export function openMemoryStorage(broken: (what: string) => void): MemoryStorage {
  const objects = new Map<string, StoredObject>();
  /** Of frozen names, also of those that were taken away since. */
  const first = new Map<string, Buffer>();
  let version = 0;
  const find = (location: Location): StoredObject => {
    const found = objects.get(location.key);
    if (found === undefined) throw new CodedError("storage_not_found", formatLocation(location));
    return found;
  };
  const put = ({ key }: Location, bytes: Buffer): void => {
    if (frozen.test(key)) {
      if (first.get(key)?.equals(bytes) === false) broken(`${key} changed after it was written`);
      first.set(key, bytes);
    }
    objects.set(key, { bytes, lastModified: new Date() });
    version += 1;
  };
  const slice = (location: Location, offsetBytes: number, lengthBytes: number): Buffer => {
    const { bytes } = find(location);
    if (offsetBytes + lengthBytes > bytes.length) throw new CodedError("storage_changed", formatLocation(location));
    return bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
  };
  return {
    objects,
    version: () => version,
    read: async (location) => ({ bytes: find(location).bytes, etag: '"e"', contentType: null }),
    readRange: async (location, { offsetBytes, lengthBytes }) => slice(location, offsetBytes, lengthBytes),
    async *stream(location, { offsetBytes = 0 }) {
      yield find(location).bytes.subarray(offsetBytes);
    },
    describe: async ({ key }) => {
      const found = objects.get(key);
      return found === undefined
        ? null
        : { sizeBytes: found.bytes.length, etag: '"e"', contentType: null, lastModified: found.lastModified };
    },
    write: async (location, bytes, { ifNoneMatch }) => {
      if (ifNoneMatch === "*" && objects.has(location.key)) throw new CodedError("storage_precondition_failed", location.key);
      put(location, Buffer.from(bytes));
      return { etag: '"e"' };
    },
    writeStream: async (location, pieces) => {
      const bytes = Buffer.concat(await Array.fromAsync(pieces));
      put(location, bytes);
      return { sizeBytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    },
    async *list({ key: prefix }, { startAfter = "" }) {
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > startAfter).toSorted();
      for (const key of keys) {
        const found = objects.get(key);
        if (found !== undefined) yield { key, sizeBytes: found.bytes.length, etag: '"e"', lastModified: found.lastModified };
      }
    },
    async *folders({ key: prefix }, { startAfter = "" }) {
      const below = [...objects.keys()].filter((key) => key.startsWith(prefix) && key.indexOf("/", prefix.length) !== -1);
      const names = new Set(below.map((key) => key.slice(0, key.indexOf("/", prefix.length) + 1)));
      yield* [...names].filter((name) => name > startAfter).toSorted();
    },
    remove: async (locations) => {
      for (const { key } of locations) objects.delete(key);
      version += 1;
    },
    probeWrite: () => Promise.resolve(),
    ensureBucket: () => Promise.resolve(),
    close: () => {},
  };
}
