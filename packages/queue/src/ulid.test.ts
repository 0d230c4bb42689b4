import { describe, expect, it } from "vitest";
import { isUlid, newUlid, packUlid, unpackUlid } from "./ulid.ts";

describe("ULIDs", () => {
  it("are made in lower case and grow with time", () => {
    const token = newUlid();
    expect(isUlid(token)).toBe(true);
    expect(token).toBe(token.toLowerCase());
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
