import { describe, expect, it } from "vitest";
import { compareKeys, placeOf } from "./key-order.ts";

describe("the order of keys", () => {
  it("is that of their UTF-8 bytes", () => {
    const keys = ["", "a", "a/b", "a0", "b", "Z", "é", "\uD7FF", "\uE000", "\uFFFD", "😀", "😀a", "a😀", "a\uFFFD"];
    const byBytes = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(keys.toSorted(compareKeys)).toEqual(byBytes);
    expect(keys.toSorted()).not.toEqual(byBytes);
  });

  it("tells where a key stands or would stand", () => {
    const keys = ["a", "c", "e"];
    expect(["", "a", "b", "c", "e", "f"].map((key) => placeOf(keys, key))).toEqual([0, 0, 1, 1, 2, 3]);
  });
});
