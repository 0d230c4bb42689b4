/** What `ready.sh` does on machines of different kinds: told by stubs of npm, sudo and the package manager that write down how they were called. */
import { spawnSync } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findCommand } from "./child.ts";

let checkout: string;
let bin: string;
let environment: Record<string, string>;

const lock = {
  packages: {
    "": {},
    "node_modules/a": { version: "1.0.0", integrity: "x" },
    "node_modules/other-platform": { version: "1.0.0", optional: true },
  },
};
const installed = { packages: { "node_modules/a": { version: "1.0.0", integrity: "x" } } };

beforeEach(async () => {
  checkout = await mkdtemp(join(tmpdir(), "ready-"));
  bin = join(checkout, "bin");
  environment = { PATH: bin, HOME: checkout };
  for (const folder of ["bin", "infra/dev", "node_modules"]) await mkdir(join(checkout, folder), { recursive: true });
  for (const file of ["ready.sh", "installed.mjs"])
    await copyFile(resolve(import.meta.dirname, "..", file), join(checkout, "infra/dev", file));
  for (const name of ["sh", "dirname", "env", "mktemp", "tail", "rm", "chmod"]) await symlink(findCommand([name]) ?? "", join(bin, name));
  await symlink(process.execPath, join(bin, "node"));
  await writeFile(join(checkout, "package-lock.json"), JSON.stringify(lock));
  await writeFile(join(checkout, "node_modules/.package-lock.json"), JSON.stringify(installed));
  await stub("npm", `echo '${JSON.stringify(installed)}' > node_modules/.package-lock.json`);
  await stub("id", "echo 1000", false);
});
afterEach(() => rm(checkout, { recursive: true, force: true }));

/** A command that notes its arguments and does this. */
async function stub(name: string, does = "", noted = true): Promise<void> {
  const path = join(bin, name);
  await writeFile(path, `#!${bin}/sh\n${noted ? `echo "${name} $*" >> "${checkout}/calls"\n` : ""}${does}\n`);
  await chmod(path, 0o755);
}

const calls = async (): Promise<string[]> => {
  const text = await readFile(join(checkout, "calls"), "utf8").catch(() => "");
  return text.split("\n").filter((line) => line !== "");
};

const ready = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(join(bin, "sh"), [join(checkout, "infra/dev/ready.sh"), ...args], {
    env: environment,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
};

const quiet = { status: 0, stdout: "", stderr: "" };

describe("ready.sh", () => {
  it("is quiet where everything is there", async () => {
    await stub("valkey-server");
    expect(ready("redis")).toEqual(quiet);
    expect(await calls()).toEqual([]);
  });

  it("installs the dependencies where there are none, and once", async () => {
    await rm(join(checkout, "node_modules/.package-lock.json"));
    expect(ready()).toMatchObject({ status: 0, stderr: "" });
    expect(ready()).toEqual(quiet);
    expect(await calls()).toEqual(["npm ci --no-audit --no-fund --loglevel=error"]);
  });

  it("installs them again where the lock names another version or another package", async () => {
    await writeFile(
      join(checkout, "package-lock.json"),
      JSON.stringify({ packages: { ...lock.packages, "node_modules/a": { version: "2.0.0" } } }),
    );
    ready();
    await writeFile(
      join(checkout, "package-lock.json"),
      JSON.stringify({ packages: { ...lock.packages, "node_modules/b": { version: "1.0.0" } } }),
    );
    ready();
    expect(await calls()).toHaveLength(2);
  });

  it("fails where npm does", async () => {
    await rm(join(checkout, "node_modules/.package-lock.json"));
    await stub("npm", "exit 7");
    expect(ready("redis").status).toBe(7);
  });

  it("needs no server where REDIS_URL names one", async () => {
    environment["REDIS_URL"] = "redis://elsewhere";
    expect(ready("redis")).toEqual(quiet);
  });

  it("asks for no Redis where none is wanted", () => {
    expect(ready()).toEqual(quiet);
  });

  it("names what to type, in one line, where it may not install", async () => {
    await stub("apt-get");
    await stub("sudo", "exit 1");
    const { status, stdout, stderr } = ready("redis");
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^Redis is needed: type `sudo apt-get install redis-server`, .*\n$/);
    expect(await calls()).toEqual(["sudo -n true"]);
  });

  it("installs the distribution's package where sudo asks for no password", async () => {
    await stub("sudo", 'shift; exec "$@"');
    await stub("true");
    await stub("dnf", `echo > "${bin}/redis-server"; chmod 755 "${bin}/redis-server"`);
    expect(ready("redis")).toMatchObject({ status: 0, stderr: "" });
    expect(await calls()).toContain("dnf -q install -y redis");
    expect(ready("redis")).toEqual(quiet);
  });

  it("says why where the installation fails", async () => {
    await stub("sudo", 'shift; exec "$@"');
    await stub("true");
    await stub("apk", "echo no network; exit 1");
    const { status, stderr } = ready("redis");
    expect(status).toBe(1);
    expect(stderr).toMatch(/no network\nRedis is needed: type `sudo apk add redis`/);
  });
});
