/** infra/compose.yaml against the Compose Specification's own validator, and its bucket maker against a real S3 server. */
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { composePath } from "./compose.ts";
import { ask, findProgram } from "./programs.ts";

const validator = findProgram("compose-config");
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "flamboyance-compose-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(validator === null)("infra/compose.yaml, by the specification", () => {
  const check = (file: string) =>
    ask(validator ?? "", ["-no-interpolation", "-no-path-resolution", "-format", "json", file], { cwd: folder });

  it("is valid", async () => {
    await copyFile(composePath, join(folder, "compose.yaml"));
    const answer = await check("compose.yaml");
    expect(answer).toMatchObject({ code: 0 });
    expect(answer.text).toContain('"s3-buckets"');
  });

  it("would be refused with a word that the specification doesn't know", async () => {
    await writeFile(join(folder, "wrong.yaml"), (await readFile(composePath, "utf8")).replace("depends_on:", "depend_on:"));
    const answer = await check("wrong.yaml");
    expect(answer.code).toBe(1);
    expect(answer.text).toContain("depend_on");
  });
});
