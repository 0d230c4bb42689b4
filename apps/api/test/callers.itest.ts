import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { PassThrough } from "node:stream";
import { finished } from "node:stream/promises";
import { runProgram } from "@flamboyance/cli";
import { createClient, FlamboyanceError, type Client } from "@flamboyance/client";
import type { ResultLine } from "@flamboyance/contracts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { confirm, finish, linesOf, plan, record } from "./hand-worker.ts";
import { imagesBucket, startService, type Service } from "./service.ts";

const caption = { model: "demo", task: "caption" as const, input: `s3://${imagesBucket}/manifest.jsonl` };
const bin = resolve(import.meta.dirname, "../../cli/bin/flamboyance.js");

let service: Service;
let url: string;
let client: Client;
let folder: string;
beforeAll(async () => {
  service = await startService();
  url = service.address;
  client = createClient({ baseUrl: url, apiKey: service.keys.demo });
  folder = await mkdtemp(join(tmpdir(), "flamboyance-cli-"));
});
afterAll(async () => {
  await service.close();
  await rm(folder, { recursive: true, force: true });
});

describe("the client", () => {
  it("submits, follows the results while the batch runs, and waits for its end", async () => {
    const { id } = await client.batches.create(caption);
    const made = await plan(service, id, [2, 2, 1]);
    await record(service, made, [0]);
    await confirm(service, made, 1);
    const seen: ResultLine[] = [];
    const waiting = client.batches.wait(id, { intervalMs: 20 });
    for await (const line of client.batches.results(id, { follow: true, intervalMs: 20, limit: 2 })) {
      seen.push(line);
      if (seen.length === 2) await record(service, made, [1, 2]);
      if (seen.length === 2) await finish(service, made);
    }
    expect(seen.map((line) => line.id)).toEqual(linesOf(made).map((line) => line.id));
    expect(await waiting).toMatchObject({ id, status: "completed", request_counts: { total: 5, completed: 4, failed: 1 } });
  });

  it("lists batches and models, pauses, resumes and cancels", async () => {
    const { id } = await client.batches.create(caption);
    await expect(client.batches.pause(id)).rejects.toMatchObject({ code: "conflict", status: 409 });
    await plan(service, id, [1]);
    expect(await client.batches.pause(id)).toMatchObject({ id, status: "paused" });
    expect(await client.batches.resume(id)).toMatchObject({ id, status: "in_progress" });
    expect(await client.batches.setPriority(id, 4)).toMatchObject({ id, priority: 4 });
    expect((await client.models.list()).map((model) => model.id)).toEqual(["demo"]);
    expect((await client.batches.list({ limit: 1 })).data).toHaveLength(1);
    expect(await client.batches.cancel(id)).toMatchObject({ id, status: "cancelling" });
    const all: string[] = [];
    for await (const batch of client.batches.all()) all.push(batch.id);
    expect(all).toContain(id);
  });

  it("rejects with the service's code and the place", async () => {
    const wrong = client.batches.create({ ...caption, model: "none" });
    await expect(wrong).rejects.toThrow(FlamboyanceError);
    await expect(wrong).rejects.toMatchObject({
      code: "model_not_found",
      status: 404,
      param: "model",
      requestId: expect.stringMatching(/^req_/),
    });
    const stranger = createClient({ baseUrl: url, apiKey: "wrong" });
    await expect(stranger.models.list()).rejects.toMatchObject({ code: "invalid_api_key", status: 401 });
  });
});

describe("the command line", () => {
  it("submits from a file and flags, shows, lists, pauses, resumes, cancels", async () => {
    const submitted = await run(["submit", "--model", "demo", "--task", "caption", "--input", caption.input, "--metadata", "project=x"]);
    expect(submitted).toMatchObject({ code: 0, err: "" });
    const id = submitted.out.trim();
    expect(id).toMatch(/^batch_/);
    expect((await run(["show", id])).out).toContain("validating");
    expect(JSON.parse((await run(["show", id, "--json"])).out)).toMatchObject({ id, metadata: { project: "x" } });
    expect((await run(["list", "--limit", "1"])).out.trimEnd().split("\n")).toHaveLength(3);
    expect((await run(["models"])).out).toContain("demo");
    expect(await run(["pause", id])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/only a batch in progress can be paused.*conflict/),
    });
    await plan(service, id, [1]);
    expect(await run(["pause", id])).toMatchObject({ code: 0, out: `${id} paused\n` });
    expect(JSON.parse((await run(["resume", id, "--json"])).out)).toMatchObject({ id, status: "in_progress" });
    expect(await run(["priority", id, "-5"])).toMatchObject({ code: 0, out: `${id} in_progress, priority -5\n` });
    expect((await run(["show", id])).out).toMatch(/^priority +-5$/m);
    expect(await run(["cancel", id])).toMatchObject({ code: 0, out: `${id} cancelling\n` });
  });

  it("goes on watching a batch that is paused", async () => {
    const { id } = await client.batches.create(caption);
    const made = await plan(service, id, [1]);
    await client.batches.pause(id);
    const child = start(["watch", id]);
    await child.says(/paused 0\/1\n/);
    await client.batches.resume(id);
    await record(service, made, [0]);
    await finish(service, made);
    expect(await child.ended).toMatchObject({ code: 0, out: expect.stringContaining(`${id} completed: 1 of 1 completed`) });
  });

  it("watches to the end, and says by its code how it ended", async () => {
    const done = await ended();
    // It completed, and an item of it failed.
    expect(await run(["watch", done])).toMatchObject({
      code: 5,
      out: expect.stringContaining(`${done} completed: 4 of 5 completed, 1 failed`),
    });
    const { id } = await client.batches.create(caption);
    await service.queue.refusePlan({ id, errors: [{ code: "empty_file", message: "No lines.", param: null, line: null }] });
    const refused = await run(["cancel", id]);
    expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/conflict/) });
  });

  it("reads results as lines, as a table, and into a file that is whole", async () => {
    const id = await ended();
    const { out } = await run(["results", id]);
    expect(
      out
        .trimEnd()
        .split("\n")
        .map((line) => (JSON.parse(line) as ResultLine).custom_id),
    ).toEqual(["item 0", "item 1", "item 2", "item 3", "item 4"]);
    const table = (await run(["results", id, "--table", "--status", "completed"])).out;
    expect(table).toContain("item 4  answer 4");
    expect(table).not.toContain("item 2");
    expect((await run(["results", id, "--table"])).out).toContain("item 2  ✗ image_not_found");
    const path = join(folder, "lines.jsonl");
    expect(await run(["results", id, "--output", path])).toMatchObject({ code: 0, out: "", err: `5 lines written to ${path}\n` });
    expect(await readFile(path, "utf8")).toBe(out);
    expect(await readdir(folder)).toEqual(["lines.jsonl"]);
    const nowhere = join(folder, "none", "lines.jsonl");
    expect(await run(["results", id, "--output", nowhere])).toMatchObject({ code: 2, err: expect.stringContaining("can't be written") });
  });

  it("says of a batch that goes on that there will be more lines", async () => {
    const { id } = await client.batches.create(caption);
    await plan(service, id, [1]);
    const err = `${id} is in_progress: these are the lines that it has so far; --follow waits for the others\n`;
    expect(await run(["results", id])).toMatchObject({ code: 0, out: "", err });
    await client.batches.cancel(id);
  });

  it("says why a batch whose plan was refused has no results", async () => {
    const { id } = await client.batches.create(caption);
    await service.queue.refusePlan({ id, errors: [{ code: "invalid_json_line", message: "not JSON", param: null, line: 3 }] });
    const err = `${id} failed and has no results: line 3: not JSON (invalid_json_line)\n`;
    expect(await run(["results", id])).toMatchObject({ out: "", err });
    expect(await run(["results", id, "--table"])).toMatchObject({ out: "", err });
  });

  it("detaches at Ctrl-C and says how to come back", async () => {
    const { id } = await client.batches.create(caption);
    await plan(service, id, [1]);
    const child = start(["watch", id]);
    await child.says(/in_progress/);
    child.interrupt();
    expect(await child.ended).toMatchObject({
      code: 130,
      err: expect.stringContaining(`The batch goes on. Come back with: flamboyance watch ${id}`),
    });
    expect((await client.batches.get(id)).status).toBe("in_progress");
    const path = join(folder, "half.jsonl");
    const following = start(["results", id, "--follow", "--output", path]);
    await following.opens(path);
    following.interrupt();
    expect(await following.ended).toMatchObject({ code: 130, err: expect.stringContaining("wasn't written") });
    expect((await readdir(folder)).filter((name) => name.startsWith("half"))).toEqual([]);
  });

  it("says in one line what is wrong: key, id, nobody there, somebody else there", async () => {
    const oneLine = /^flamboyance: [^\n]+\n$/;
    const wrongKey = await run(["list"], { FLAMBOYANCE_API_KEY: "wrong" });
    expect(wrongKey).toMatchObject({ code: 1, err: expect.stringMatching(oneLine) });
    expect(wrongKey.err).toContain("invalid_api_key");
    const unknown = await run(["show", "batch_none"]);
    expect(unknown).toMatchObject({ code: 1, err: expect.stringMatching(oneLine) });
    expect(unknown.err).toMatch(/not_found/);

    const other = createServer((_request, response) => response.end("hi")).listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const stranger = await run(["list", "--url", `http://127.0.0.1:${port}`]);
    expect(stranger).toMatchObject({ code: 1, err: expect.stringContaining("invalid_answer") });
    other.close();
    other.closeAllConnections();
    await once(other, "close");
    const nobody = await run(["list", "--url", `http://127.0.0.1:${port}`]);
    expect(nobody).toMatchObject({ code: 4, err: expect.stringMatching(oneLine) });
    expect(nobody.err).toContain("no_answer");
  });
});

async function ended(): Promise<string> {
  const { id } = await client.batches.create(caption);
  const made = await plan(service, id, [2, 3]);
  await record(service, made, [0, 1]);
  await finish(service, made);
  return id;
}

/** The command's program in this process, on a terminal of its own. */
async function run(commandLine: readonly string[], variables: Readonly<Record<string, string>> = {}) {
  const said = { out: "", err: "" };
  const [out, err] = [new PassThrough(), new PassThrough()];
  out.setEncoding("utf8").on("data", (text: string) => (said.out += text));
  err.setEncoding("utf8").on("data", (text: string) => (said.err += text));
  const code = await runProgram(commandLine, { out, err, environment: environment(variables), signal: new AbortController().signal });
  await Promise.all([out, err].map((stream) => finished(stream.end())));
  return { code, ...said };
}

/** The command as a process, as it is installed. */
function start(commandLine: readonly string[]) {
  const child = spawn(process.execPath, [bin, ...commandLine], {
    env: { PATH: process.env["PATH"], ...environment() },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const until = async (holds: () => boolean | Promise<boolean>) => {
    const deadline = Date.now() + 40_000;
    while (!(await holds())) {
      if (Date.now() > deadline || child.exitCode !== null) throw new Error(`it never came; so far: ${out}${err}`);
      await new Promise((next) => setTimeout(next, 20));
    }
  };
  return {
    interrupt: () => void child.kill("SIGINT"),
    says: (pattern: RegExp) => until(() => pattern.test(out + err)),
    /** The file that it writes beside the place is there. */
    opens: (path: string) => until(async () => (await readdir(dirname(path))).some((name) => name.startsWith(basename(path)))),
    ended: once(child, "close").then(([code]) => ({ code: code as number | null, out, err })),
  };
}

function environment(variables: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { FLAMBOYANCE_URL: url, FLAMBOYANCE_API_KEY: service.keys.demo, ...variables };
}
