import { spawnSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../../..");
const complete = (cwd: string, ...args: string[]) =>
  spawnSync(process.execPath, [join(root, "infra/dev/complete-lock.mjs"), ...args], { cwd, encoding: "utf8" });

interface Lock {
  readonly packages: Record<string, unknown>;
}

it("the lock names every platform's packages, so that npm ci takes it everywhere", () => {
  expect(complete(root, "--check")).toMatchObject({ status: 0, stderr: "" });
});

it("a lock that lost other platforms is completed as it was", async () => {
  const folder = await mkdtemp(join(tmpdir(), "lock-"));
  const file = join(folder, "package-lock.json");
  const read = async () => JSON.parse(await readFile(file, "utf8")) as Lock;
  await copyFile(join(root, "package-lock.json"), file);
  const whole = await read();
  const names = [
    "node_modules/@oxfmt/binding-linux-x64-musl",
    "node_modules/@turbo/windows-64",
    "node_modules/@oxlint-tsgolint/darwin-arm64",
  ];
  await writeFile(
    file,
    JSON.stringify({ ...whole, packages: Object.fromEntries(Object.entries(whole.packages).filter(([path]) => !names.includes(path))) }),
  );
  expect(complete(folder, "--check").stderr.match(/lacks/g)).toHaveLength(3);
  expect(complete(folder).status).toBe(0);
  expect(complete(folder, "--check").status).toBe(0);
  const { packages } = await read();
  const bare = (path: string) => ({ ...(whole.packages[path] as object), integrity: undefined, license: undefined, engines: undefined });
  for (const name of names) expect(packages[name]).toMatchObject(JSON.parse(JSON.stringify(bare(name))) as object);
  await rm(folder, { recursive: true });
});
