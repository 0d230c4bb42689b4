/** infra/compose.yaml against the Compose Specification's own validator, and its bucket maker against a real S3 server. */
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { testServers, type RunningTestServer } from "@flamboyance/dev/s3";
import { openStorage } from "@flamboyance/storage";
import { composePath, readCompose } from "./compose.ts";
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

const curl = findProgram("curl");
const variables = {
  S3_ACCESS_KEY_ID: "",
  S3_SECRET_ACCESS_KEY: "",
  FLAMBOYANCE_KEYS: "[]",
  GRAFANA_PASSWORD: "x",
  FLAMBOYANCE_DATA_BUCKETS: "images results",
};

describe.skipIf(curl === null).each(testServers())("the bucket maker of infra/compose.yaml, on the $name server", (server) => {
  let running: RunningTestServer;
  beforeAll(async () => {
    running = await server.start();
  });
  afterAll(() => running.close());

  /** The service's own command, as its container would run it. */
  const makeBuckets = (secret: string) => {
    const filled = readCompose({ ...variables, S3_ACCESS_KEY_ID: running.accessKeyId, S3_SECRET_ACCESS_KEY: secret });
    const { entrypoint = [], command = [], environment = {} } = filled.services["s3-buckets"] ?? {};
    const [program = "", ...words] = [...entrypoint, ...command];
    return ask(program, words, { environment: { ...environment, ENDPOINT: running.endpoint } });
  };

  it("makes the buckets, and is content where they are there", async () => {
    expect(await makeBuckets(running.secretAccessKey)).toEqual({ code: 0, text: "made flamboyance\nmade images\nmade results\n" });
    const storage = openStorage({ ...running, pathStyle: true });
    const location = { bucket: "results", key: "a.txt" };
    const signal = AbortSignal.timeout(10_000);
    await storage.write(location, "a", { contentType: "text/plain", signal });
    expect(await storage.describe(location, { signal })).toMatchObject({ sizeBytes: 1 });
    storage.close();
    expect((await makeBuckets(running.secretAccessKey)).code).toBe(0);
  });

  it("fails, and so holds up the start, where S3 refuses", async () => {
    const answer = await makeBuckets("another-secret");
    expect(answer.code).toBe(1);
    expect(answer.text).toContain("flamboyance: S3 answered 403");
  });
});
