/** The images' contents work: the Dockerfile's own steps, run here without a container engine, give apps that start. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeImageFolder, type ImageFolder } from "./image-folder.ts";

let parent = "";
const made = new Map<string, Promise<ImageFolder>>();

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "flamboyance-image-"));
});
afterAll(() => rm(parent, { recursive: true, force: true }));

describe.each(["api", "worker"])("the %s image", (name) => {
  it("starts with --help under plain node, with production dependencies only", { timeout: 240_000 }, async () => {
    const { folder } = await makeImageFolder(name, parent, made);
    expect(existsSync(join(folder, "node_modules/typescript"))).toBe(false);
    expect(existsSync(join(folder, "node_modules/vitest"))).toBe(false);
    const { stdout } = await promisify(execFile)(process.execPath, [`apps/${name}/dist/main.js`, "--help"], { cwd: folder, env: {} });
    expect(stdout).toContain("REDIS_URL");
  });

  it("names a missing variable in one line and stops", { timeout: 240_000 }, async () => {
    const { folder } = await makeImageFolder(name, parent, made);
    const started = promisify(execFile)(process.execPath, [`apps/${name}/dist/main.js`], { cwd: folder, env: {} });
    await expect(started).rejects.toMatchObject({ code: expect.any(Number), stderr: expect.stringMatching(/FLAMBOYANCE_BUCKET.*\n$/) });
  });
});
