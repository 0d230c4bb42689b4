import { describe, expect, it } from "vitest";
import { partBytesFor } from "./write-object.ts";

describe("the size of a part", () => {
  it("is 8 MiB, and grows where 10,000 of those wouldn't do", () => {
    const mebibyte = 1024 * 1024;
    expect(partBytesFor(0)).toBe(8 * mebibyte);
    expect(partBytesFor(70 * 1024 * mebibyte)).toBe(8 * mebibyte);
    const largest = 5 * 1024 * 1024 * mebibyte; // the most that S3 holds in one object
    expect(partBytesFor(largest) * 10_000).toBeGreaterThanOrEqual(largest);
    expect(partBytesFor(largest)).toBeLessThan(5 * 1024 * mebibyte);
  });
});
