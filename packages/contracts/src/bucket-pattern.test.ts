import { expect, it } from "vitest";
import { bucketAllowed } from "./bucket-pattern.ts";

it("takes a star for any characters and everything else literally", () => {
  expect(bucketAllowed(["demo-*"], "demo-images")).toBe(true);
  expect(bucketAllowed(["demo-*"], "my-demo-images")).toBe(false);
  expect(bucketAllowed(["a.b"], "axb")).toBe(false);
  expect(bucketAllowed(["x", "*"], "anything")).toBe(true);
});

it("allows nothing without a pattern", () => {
  expect(bucketAllowed([], "demo-images")).toBe(false);
});
