import { describe, expect, it } from "vitest";
import { checksumAlgorithmOf, startChecksum, type ChecksumAlgorithm } from "./checksum.ts";

function digest(algorithm: ChecksumAlgorithm, ...pieces: string[]): string {
  const checksum = startChecksum(algorithm);
  for (const piece of pieces) checksum.update(Buffer.from(piece));
  return checksum.digest().toString("hex");
}

describe("checksums", () => {
  // The published check values of "123456789".
  it.each([
    ["crc32", "cbf43926"],
    ["crc32c", "e3069283"],
    ["crc64nvme", "ae8b14860a799888"],
    ["sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"],
    ["sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"],
  ] as const)("%s has its published value, however the bytes are cut", (algorithm, value) => {
    expect(digest(algorithm, "123456789")).toBe(value);
    expect(digest(algorithm, "12", "", "3456", "789")).toBe(value);
  });

  it("are known by their headers and by their fields", () => {
    expect(checksumAlgorithmOf("x-amz-checksum-crc32c")).toBe("crc32c");
    expect(checksumAlgorithmOf("CRC64NVME")).toBe("crc64nvme");
    expect(checksumAlgorithmOf("x-amz-checksum-mode")).toBeNull();
  });
});
