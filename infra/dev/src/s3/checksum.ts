/** The checksums that S3 knows, over bytes that come in pieces. Values are base64 of the big-endian number, as in `x-amz-checksum-…`. */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

export const checksumAlgorithms = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"] as const;
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number];

export interface Checksum {
  readonly algorithm: ChecksumAlgorithm;
  /** Base64; of a multipart object's checksum of checksums, with `-<parts>`. */
  readonly value: string;
  readonly type: "FULL_OBJECT" | "COMPOSITE";
}

export interface RunningChecksum {
  update(piece: Uint8Array): void;
  digest(): Buffer;
}

/** Starts a checksum. */
export function startChecksum(algorithm: ChecksumAlgorithm): RunningChecksum {
  switch (algorithm) {
    case "sha1":
    case "sha256": {
      const hash = createHash(algorithm);
      return { update: (piece) => void hash.update(piece), digest: () => hash.digest() };
    }
    case "crc32": {
      let value = 0;
      return { update: (piece) => void (value = crc32(piece, value)), digest: () => bigEndian(value) };
    }
    case "crc32c": {
      let value = 0xffffffff;
      return {
        update: (piece) => {
          for (const byte of piece) value = (value >>> 8) ^ (crc32cTable[(value ^ byte) & 0xff] ?? 0);
        },
        digest: () => bigEndian((value ^ 0xffffffff) >>> 0),
      };
    }
    case "crc64nvme": {
      // Two halves: numbers hold 53 bits, and BigInts are some fifty times slower.
      let high = 0xffffffff;
      let low = 0xffffffff;
      return {
        update: (piece) => {
          for (const byte of piece) {
            const at = (low ^ byte) & 0xff;
            low = ((low >>> 8) | (high << 24)) ^ (crc64Low[at] ?? 0);
            high = (high >>> 8) ^ (crc64High[at] ?? 0);
          }
        },
        digest: () => Buffer.concat([bigEndian(~high >>> 0), bigEndian(~low >>> 0)]),
      };
    }
  }
}

/** The algorithm of a header's or field's name (`x-amz-checksum-crc32`, `CRC32`), or null. */
export function checksumAlgorithmOf(name: string): ChecksumAlgorithm | null {
  const bare = name.toLowerCase().replace(/^x-amz-checksum-/, "");
  return checksumAlgorithms.find((algorithm) => algorithm === bare) ?? null;
}

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

// Reflected polynomials: Castagnoli's, and NVM Express's 64-bit one.
const crc32cTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});
const crc64Table = Array.from({ length: 256 }, (_, byte) => {
  let value = BigInt(byte);
  for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ 0x9a6c9329ac4bc9b5n : value >> 1n;
  return value;
});
const crc64Low = Uint32Array.from(crc64Table, (value) => Number(value & 0xffffffffn));
const crc64High = Uint32Array.from(crc64Table, (value) => Number(value >> 32n));
