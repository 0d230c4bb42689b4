import { newKey } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { recogniseKey } from "./recognise-key.ts";

it("recognises a key by its hash alone", async () => {
  const first = await newKey("demo", "main", ["demo-*"]);
  const second = await newKey("other", "main", ["*"]);
  expect(JSON.stringify([first.entry, second.entry])).not.toContain(first.key);
  expect(recogniseKey([first.entry, second.entry], first.key)).toEqual(first.entry);
  expect(recogniseKey([first.entry, second.entry], second.key)).toEqual(second.entry);
  expect(recogniseKey([first.entry], second.key)).toBeNull();
  expect(recogniseKey([], first.key)).toBeNull();
  expect(recogniseKey([first.entry], first.entry.sha256)).toBeNull();
});

it("makes no key for a name or bucket that can't be", async () => {
  await expect(newKey("Demo Inc", "main", ["a-bucket"])).rejects.toThrow(/lower-case/);
  await expect(newKey("demo", "main", [])).rejects.toThrow();
  await expect(newKey("demo", "main", ["s3://bucket"])).rejects.toThrow(/bucket's name/);
});
