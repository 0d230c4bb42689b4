import { expect, it } from "vitest";
import { newKey, recogniseKey } from "./tenant-keys.ts";

it("recognises a key by its hash alone", () => {
  const first = newKey("demo", "main", ["demo-*"]);
  const second = newKey("other", "main", ["*"]);
  expect(JSON.stringify([first.entry, second.entry])).not.toContain(first.key);
  expect(recogniseKey([first.entry, second.entry], first.key)).toEqual(first.entry);
  expect(recogniseKey([first.entry, second.entry], second.key)).toEqual(second.entry);
  expect(recogniseKey([first.entry], second.key)).toBeNull();
  expect(recogniseKey([], first.key)).toBeNull();
  expect(recogniseKey([first.entry], first.entry.sha256)).toBeNull();
});

it("makes no key for a name or bucket that can't be", () => {
  expect(() => newKey("Demo Inc", "main", ["a-bucket"])).toThrow(/lower-case/);
  expect(() => newKey("demo", "main", [])).toThrow();
  expect(() => newKey("demo", "main", ["s3://bucket"])).toThrow(/bucket's name/);
});
