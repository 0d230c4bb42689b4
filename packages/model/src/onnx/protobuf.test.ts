import { describe, expect, it } from "vitest";
import { encodeMessage } from "./protobuf.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("the protobuf writer", () => {
  it("writes the specification's own example: field 1 = 150", () => {
    expect(hex(encodeMessage((message) => message.integer(1, 150)))).toBe("089601");
  });

  it("writes a negative integer as ten bytes of two's complement", () => {
    expect(hex(encodeMessage((message) => message.integer(2, -1)))).toBe("10ffffffffffffffffff01");
  });

  it("writes text, bytes and messages with their length before them", () => {
    const bytes = encodeMessage((message) => {
      message.text(2, "testing");
      message.message(3, (inner) => inner.integer(1, 150));
    });
    expect(hex(bytes)).toBe("120774657374696e671a03089601");
  });

  it("writes a float as four little-endian bytes", () => {
    expect(hex(encodeMessage((message) => message.float(2, 1.5)))).toBe("150000c03f");
  });

  it("keeps offsets past 2 GB whole", () => {
    expect(hex(encodeMessage((message) => message.integer(1, 2 ** 40)))).toBe("08808080808020");
  });
});
