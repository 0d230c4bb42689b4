import { expect, it } from "vitest";
import { bytes } from "./flag-number.ts";

it.each([
  ["1", 1],
  ["500GB", 500_000_000_000],
  ["2TiB", 2_199_023_255_552],
  ["3KiB", 3_072],
  ["4kB", 4_000],
])("reads %s as bytes", (text, expected) => {
  expect(bytes(text)).toBe(expected);
});

it.each(["", "0", "0GB", "-1", "1.5GB", "GB", "5 GB", "5gb", "5PB", "999999999999TiB"])("refuses %j as bytes", (text) => {
  expect(() => bytes(text)).toThrow(/is needed/);
});
