/** docs/security.md names a test for each attack: each is there, by its name, in the file that it names. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/security.md"), "utf8");
const rows = page.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| attack |"));

it("has a test for every attack", () => {
  expect(rows.length).toBeGreaterThan(35);
  expect(rows.filter((row) => !/ \| `[\w./-]+\.i?test\.ts`: [^|]+ \|$/.test(row))).toEqual([]);
});

it("names tests that are there", () => {
  const missing = rows.filter((row) => {
    const [, file = "", name = ""] = / \| `([\w./-]+)`: ([^|]+) \|$/.exec(row) ?? [];
    return !readFileSync(join(root, file), "utf8").includes(name);
  });
  expect(missing).toEqual([]);
});
