/** `model import` from the command line to a folder that runs: the reference pieces, presets that they aren't, a Hub that refuses, and Ctrl-C. */
import { createServer } from "node:http";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { runProgram } from "./program.ts";

// The native runtime is loaded; a machine with other things to do takes its time.
vi.setConfig({ testTimeout: 300_000 });

const reference = join(import.meta.dirname, "../../../packages/model/reference/mpt-qk-norm");
const vision = ["--vision", join(reference, "vision/open_clip_model.safetensors")];
const pieces = [...vision, "--lm", join(reference, "lm-mpt-1b-redpajama-200b"), "--checkpoint", join(reference, "checkpoint.pt")];

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "flamboyance-cli-import-"));
});
afterEach(() => rm(parent, { recursive: true }));

async function run(
  flags: string[],
  { environment = {}, signal = new AbortController().signal }: { environment?: Record<string, string>; signal?: AbortSignal } = {},
) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const code = await runProgram(["model", "import", join(parent, "model"), ...flags], { out, err, environment, signal });
  return { code, out: String(out.read() ?? ""), err: String(err.read() ?? "") };
}

it("writes the folder, and runs it once", async () => {
  const { code, out, err } = await run(pieces);
  expect(code).toBe(0);
  expect(out).toMatch(/^model \(fp32, content [0-9a-f]{12}…\) stands in /);
  expect(err).toMatch(/^writing: 100 % of [\d.]+ MB$/m);
  expect(err).toMatch(
    /^verified: one image and a prompt ran through both graphs: \d tokens \((stop|length)\) after \d+, mean log-probability -\d/m,
  );
  expect(await readdir(parent)).toEqual(["model"]);
  expect((await run([...pieces, "--no-verify"])).err).not.toContain("verified");
});

it("names what a preset expects, and leaves nothing", async () => {
  const { code, err } = await run([...pieces, "--preset", "openflamingo-3b-vitl-mpt1b"]);
  expect(code).toBe(1);
  expect(err).toContain("the preset's vision file is openai/clip-vit-large-patch14 (preset_mismatch)");
  expect(await readdir(parent)).toEqual([]);
});

it("says who is refused by the Hub", async () => {
  const hub = createServer((_, response) => response.writeHead(401, { "x-error-message": "Invalid credentials" }).end());
  await new Promise<void>((resolve) => hub.listen(0, "127.0.0.1", resolve));
  const address = hub.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const { code, err } = await run([...vision, "--preset", "openflamingo-9b-vitl-mpt7b", "--cache", join(parent, "cache")], {
    environment: { HF_ENDPOINT: `http://127.0.0.1:${port}/`, HF_TOKEN: "hf_secret" },
  });
  hub.closeAllConnections();
  hub.close();
  expect(code).toBe(1);
  expect(err).toMatch(/anas-awadalla\/mpt-7b.*Invalid credentials \(hub_unauthorized\)/);
  expect(err).not.toContain("hf_secret");
  expect(await readdir(parent)).toEqual([]);
});

it("ends with 130 at Ctrl-C, and leaves nothing half", async () => {
  const { code, err } = await run(pieces, { signal: AbortSignal.abort() });
  expect({ code, err }).toEqual({
    code: 130,
    err: "flamboyance: Given up; nothing was written.\n",
  });
  expect(await readdir(parent)).toEqual([]);
});
