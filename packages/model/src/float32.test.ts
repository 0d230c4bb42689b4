import { describe, expect, it } from "vitest";
import { widenToFloat32 } from "./float32.ts";

const floats = (bytes: Uint8Array): number[] => [...new Float32Array(new Uint8Array(bytes).buffer)];
const halves = (...bits: number[]): Uint8Array => new Uint8Array(Uint16Array.from(bits).buffer);

describe("widening to float32", () => {
  it("is exact for fp16: one, the largest, the smallest normal, subnormals, signed zero, infinities", () => {
    const bits = halves(0x3c00, 0x7bff, 0x0400, 0x0001, 0x03ff, 0x8000, 0x7c00, 0xfc00, 0xc500);
    const expected = [1, 65504, 2 ** -14, 2 ** -24, 1023 * 2 ** -24, -0, Infinity, -Infinity, -5];
    expect(floats(widenToFloat32(bits, "f16"))).toEqual(expected);
  });

  it("keeps fp16's NaN a NaN", () => {
    expect(floats(widenToFloat32(halves(0x7e00), "f16"))).toEqual([NaN]);
  });

  it("gives every finite fp16 its value", () => {
    const all = Array.from({ length: 0x10000 }, (_, bits) => bits).filter((bits) => (bits & 0x7c00) !== 0x7c00);
    const value = (bits: number): number => {
      const exponent = (bits >> 10) & 0x1f;
      const fraction = (bits & 0x3ff) / 1024;
      return (bits & 0x8000 ? -1 : 1) * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15));
    };
    const wrong = floats(widenToFloat32(halves(...all), "f16")).findIndex((found, index) => !Object.is(found, value(all[index] ?? 0)));
    expect(wrong).toBe(-1);
  });

  it("is exact for bf16", () => {
    expect(floats(widenToFloat32(halves(0x3f80, 0xc0a0, 0x0001), "bf16"))).toEqual([1, -5, 2 ** -133]);
  });

  it("answers float32 as it is", () => {
    const bytes = new Uint8Array([1, 2, 3, 4]);
    expect(widenToFloat32(bytes, "f32")).toBe(bytes);
  });
});
