import { expect, it } from "vitest";
import { stopStrings } from "./stop-strings.ts";

/** Tokens are bytes, so that every character may be spread over several. */
const decode = (tokens: readonly number[]): string => new TextDecoder().decode(Uint8Array.from(tokens));
const bytes = (text: string): number[] => [...Buffer.from(text)];

it("is nothing where there are no strings", () => {
  expect(stopStrings([], decode)).toBeNull();
});

it("sees a string as soon as it is whole, across tokens and characters of several bytes", () => {
  const stops = stopStrings(["né."], decode);
  const text = bytes("il est né. Et");
  const firstStop = text.findIndex((_, index) => stops?.isStopped(text.slice(0, index + 1)));
  expect(decode(text.slice(0, firstStop + 1))).toBe("il est né.");
  expect(stops?.textOf(text)).toBe("il est ");
});

it("cuts before the first of several, and leaves a text without any whole", () => {
  const stops = stopStrings(["two", "one"], decode);
  expect(stops?.textOf(bytes("zero one two"))).toBe("zero ");
  expect(stops?.textOf(bytes("zero on tw"))).toBe("zero on tw");
  expect(stops?.isStopped(bytes("zero on tw"))).toBe(false);
});
