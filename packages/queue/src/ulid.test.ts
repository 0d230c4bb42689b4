import { describe, expect, it, onTestFinished, vi } from "vitest";
import { isUlid, newUlid, packUlid, unpackUlid } from "./ulid.ts";

describe("ULIDs", () => {
  it("are made in lower case and grow with time, one millisecond to the next", () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const tokens = Array.from({ length: 50 }, () => {
      vi.advanceTimersByTime(1);
      return newUlid();
    });
    expect(tokens.every(isUlid)).toBe(true);
    expect(tokens.toSorted()).toEqual(tokens);
  });

  it("pack into 16 bytes and come back", () => {
    for (const token of [newUlid(), "00000000000000000000000000", "7zzzzzzzzzzzzzzzzzzzzzzzzz"]) {
      expect(packUlid(token)).toHaveLength(16);
      expect(unpackUlid(packUlid(token))).toBe(token);
    }
  });

  it("refuses what isn't one", () => {
    for (const text of ["", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "8zzzzzzzzzzzzzzzzzzzzzzzzz", `${newUlid()}0`, "0000000000000000000000000u"]) {
      expect(isUlid(text)).toBe(false);
      expect(() => packUlid(text)).toThrow(TypeError);
    }
  });
});
