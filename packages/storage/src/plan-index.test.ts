import { describe, expect, it } from "vitest";
import { decodePlanIndex, encodePlanIndex, planIndexRange, planIndexRecordBytes } from "./plan-index.ts";

const chunks = [
  { offsetBytes: 0, sizeBytes: 4_096, firstItem: 0, items: 128 },
  { offsetBytes: 4_096, sizeBytes: 2 ** 32 - 1, firstItem: 128, items: 1 },
  { offsetBytes: 2 ** 45 + 3, sizeBytes: 17, firstItem: 2 ** 32 - 1, items: 128 },
];

describe("the plan's index", () => {
  it("gives back what was put in", () => {
    expect(decodePlanIndex(encodePlanIndex(chunks))).toEqual(chunks);
    expect(encodePlanIndex(chunks)).toHaveLength(3 * planIndexRecordBytes);
    expect(decodePlanIndex(encodePlanIndex([]))).toEqual([]);
  });

  it("tells one chunk's place by its range", () => {
    const bytes = encodePlanIndex(chunks);
    const { offsetBytes, lengthBytes } = planIndexRange(2);
    expect(decodePlanIndex(bytes.subarray(offsetBytes, offsetBytes + lengthBytes))).toEqual([chunks[2]]);
  });

  it("has a fixed form: little-endian offset, bytes, first item, items", () => {
    expect(Buffer.from(encodePlanIndex([{ offsetBytes: 1, sizeBytes: 2, firstItem: 3, items: 4 }])).toString("hex")).toBe(
      "0100000000000000020000000300000004000000",
    );
  });

  it("isn't a part of a record, nor a number that doesn't fit", () => {
    expect(() => decodePlanIndex(encodePlanIndex(chunks).subarray(1))).toThrow(
      expect.objectContaining({ code: "storage_invalid_response" }) as Error,
    );
    expect(() => encodePlanIndex([{ offsetBytes: 0, sizeBytes: 2 ** 32, firstItem: 0, items: 1 }])).toThrow(RangeError);
  });
});
