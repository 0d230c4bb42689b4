/** Pieces from a stand-in of the Hub, over real HTTP: what is fetched, what is kept through faults, and what each refusal is called. */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findPreset, type Preset } from "../import/presets.ts";
import { downloadPieces, type DownloadProgress, type PiecesDownload } from "./download-pieces.ts";
import { startTestHub, type TestHub, type TestRepository } from "./test-hub.ts";

const token = "hf_a-token-of-the-tests";
const large = (length: number, seed: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31 + seed) & 0xff));
const weights = large(300_000, 1);
const [shardOne, shardTwo] = [large(40_000, 2), large(50_000, 3)];
const checkpoint = large(200_000, 4);

const repositories = {
  "some/clip": {
    files: { ".gitattributes": large(10, 0), "README.md": large(5_000, 9), "model.safetensors": weights, "config.json": Buffer.from("{}") },
  },
  "some/lm": {
    files: {
      "a-1.bin": shardOne,
      "a-2.bin": shardTwo,
      "config.json": Buffer.from('{"a":1}'),
      "tokenizer.json": Buffer.from("{}"),
      "special_tokens_map.json": Buffer.from("{ }"),
    },
  },
  "some/flamingo": { files: { "checkpoint.pt": checkpoint } },
  "gated/flamingo": { files: { "checkpoint.pt": checkpoint }, token },
  "closed/flamingo": { files: {}, status: 403 },
  "gone/flamingo": { files: {}, status: 404 },
  "bare/flamingo": { files: { "README.md": Buffer.from("soon") } },
} satisfies Record<string, TestRepository>;

const piece = (repository: string, files: [string, ...string[]], optionalFiles: string[] = []) => ({
  repository,
  revision: "main",
  files,
  optionalFiles,
});
function presetOf(checkpointRepository = "some/flamingo"): Preset {
  const released = findPreset("openflamingo-9b-vitl-mpt7b");
  if (released === undefined) throw new Error("the presets have changed");
  return {
    ...released,
    name: "some-preset",
    pieces: {
      vision: piece("some/clip", ["model.safetensors", "config.json"]),
      languageModel: piece(
        "some/lm",
        ["a-1.bin", "a-2.bin", "config.json", "tokenizer.json"],
        ["tokenizer_config.json", "special_tokens_map.json"],
      ),
      checkpoint: piece(checkpointRepository, ["checkpoint.pt"]),
    },
  };
}

let hub: TestHub;
let cacheFolder: string;
let waits: number[];
beforeEach(async () => {
  hub = await startTestHub(repositories);
  cacheFolder = await mkdtemp(join(tmpdir(), "flamboyance-hub-"));
  waits = [];
});
afterEach(async () => {
  await hub.close();
  await rm(cacheFolder, { recursive: true });
});

function download({ onProgress, ...options }: Partial<PiecesDownload> = {}, preset = presetOf()) {
  return downloadPieces(preset, {
    endpoint: hub.endpoint,
    cacheFolder,
    wanted: ["vision", "languageModel", "checkpoint"],
    signal: new AbortController().signal,
    wait: (milliseconds) => {
      waits.push(milliseconds);
      return Promise.resolve();
    },
    // A connection is cut once all has come that was sent on it.
    onProgress: (progress) => {
      onProgress?.(progress);
      if (hub.stalls.has(progress.doneBytes) && options.signal === undefined) hub.cut();
    },
    ...options,
  });
}
const onlyCheckpoint = { wanted: ["checkpoint"] } as const;
const fromStore = () => hub.requests.filter(({ host, path }) => host === "store" && path.includes("checkpoint")).map(({ range }) => range);
const kept = async () =>
  (await readdir(cacheFolder, { recursive: true })).map((path) => basename(path)).filter((name) => name.startsWith("checkpoint"));

describe("a preset's pieces", () => {
  it("come whole, each file once, and nothing that the preset doesn't name", async () => {
    const seen: DownloadProgress[] = [];
    const places = await download({ onProgress: (progress) => seen.push(progress) });
    expect(await readFile(places.vision ?? "")).toEqual(weights);
    expect(await readFile(places.checkpoint ?? "")).toEqual(checkpoint);
    expect((await readdir(places.languageModel ?? "")).toSorted()).toEqual(
      ["a-1.bin", "a-2.bin", "config.json", "special_tokens_map.json", "tokenizer.json"].toSorted(),
    );
    expect(await readFile(join(places.languageModel ?? "", "a-2.bin"))).toEqual(shardTwo);
    expect(await readdir(dirname(places.vision ?? ""))).toEqual(["config.json", "model.safetensors"]);
    expect(relative(cacheFolder, places.vision ?? "")).toMatch(/^some--clip\/[0-9a-f]{16}\/model\.safetensors$/);
    const total = 300_000 + 2 + 40_000 + 50_000 + 7 + 2 + 3 + 200_000;
    expect(seen.at(-1)).toEqual({ file: "some/flamingo/checkpoint.pt", doneBytes: total, totalBytes: total });
    expect(seen.map(({ doneBytes }) => doneBytes)).toEqual(seen.map(({ doneBytes }) => doneBytes).toSorted((a, b) => a - b));
  });

  it("aren't fetched again, and only those wanted are looked for", async () => {
    const places = await download(onlyCheckpoint);
    expect(Object.keys(places)).toEqual(["checkpoint"]);
    expect(hub.requests.some(({ path }) => path.includes("some/lm") || path.includes("some/clip"))).toBe(false);
    const before = hub.requests.length;
    expect(await download(onlyCheckpoint)).toEqual(places);
    expect(hub.requests.slice(before).map(({ path }) => path)).toEqual([
      "/api/models/some/flamingo/tree/main?recursive=false&expand=false",
    ]);
  });

  it("carry the token to the Hub, and not to where it redirects", async () => {
    await download({ ...onlyCheckpoint, token }, presetOf("gated/flamingo"));
    const sent = (host: "hub" | "store") => new Set(hub.requests.filter((each) => each.host === host).map((each) => each.authorization));
    expect(sent("hub")).toEqual(new Set([`Bearer ${token}`]));
    expect(sent("store")).toEqual(new Set([null]));
  });
});

describe("a fault", () => {
  it("of the connection is gone on from, where it was", async () => {
    hub.faults.push({ kind: "stall", afterBytes: 70_000 }, { kind: "status", status: 503 }, { kind: "stall", afterBytes: 30_000 });
    const places = await download(onlyCheckpoint);
    expect(await readFile(places.checkpoint ?? "")).toEqual(checkpoint);
    expect(fromStore()).toEqual([null, "bytes=70000-", "bytes=70000-", "bytes=100000-"]);
    expect(waits).toEqual([1_000, 2_000, 1_000]);
    expect(await kept()).toEqual(["checkpoint.pt"]);
  });

  it("that doesn't pass is given up after six tries; what came stays, and the next call goes on with it", async () => {
    hub.faults.push({ kind: "stall", afterBytes: 50_000 }, ...Array.from({ length: 6 }, () => ({ kind: "status", status: 500 }) as const));
    await expect(download(onlyCheckpoint)).rejects.toMatchObject({ code: "hub_unavailable" });
    expect(await kept()).toEqual(["checkpoint.pt.part"]);
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000]);
    await download(onlyCheckpoint);
    expect(fromStore().at(-1)).toBe("bytes=50000-");
    expect(await kept()).toEqual(["checkpoint.pt"]);
  });

  it("of a store without ranges begins anew", async () => {
    hub.faults.push({ kind: "stall", afterBytes: 70_000 }, { kind: "no ranges" });
    const places = await download(onlyCheckpoint);
    expect(await readFile(places.checkpoint ?? "")).toEqual(checkpoint);
  });

  it("of the bytes is found by the hash, and leaves nothing", async () => {
    hub.faults.push({ kind: "altered" });
    await expect(download(onlyCheckpoint)).rejects.toMatchObject({ code: "hub_file_corrupt", param: "checkpoint.pt" });
    expect(await kept()).toEqual([]);
    await download(onlyCheckpoint);
    expect(await kept()).toEqual(["checkpoint.pt"]);
  });

  it("of an earlier part is found too: another content, or more than there should be", async () => {
    const places = await download();
    for (const [path, content] of [
      [places.checkpoint ?? "", Buffer.alloc(1_000)],
      [join(places.languageModel ?? "", "config.json"), Buffer.from('{"b":')],
    ] as const) {
      await rm(path);
      await writeFile(`${path}.part`, content);
      await expect(download()).rejects.toMatchObject({ code: "hub_file_corrupt" });
      await download();
    }
    await rm(places.checkpoint ?? "");
    await writeFile(`${places.checkpoint}.part`, Buffer.alloc(300_000));
    expect(
      createHash("sha256")
        .update(await readFile((await download()).checkpoint ?? ""))
        .digest("hex"),
    ).toBe(createHash("sha256").update(checkpoint).digest("hex"));
  });

  it("of nobody there is hub_unavailable", async () => {
    await hub.close();
    await expect(download(onlyCheckpoint)).rejects.toMatchObject({ code: "hub_unavailable" });
    hub = await startTestHub(repositories);
  });
});

describe("a refusal", () => {
  it.each([
    ["gated/flamingo", "hub_unauthorized", /HF_TOKEN.*Access to this model is restricted/],
    ["nobody/flamingo", "hub_unauthorized", /nobody\/flamingo/],
    ["closed/flamingo", "hub_forbidden", /closed\/flamingo/],
    ["gone/flamingo", "hub_not_found", /gone\/flamingo/],
    ["bare/flamingo", "hub_not_found", /holds no checkpoint.pt at main, which some-preset needs/],
  ])("of %s is %s, at once and before anything is fetched", async (repository, code, message) => {
    await expect(download({}, presetOf(repository))).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(waits).toEqual([]);
    expect(hub.requests.some(({ host }) => host === "store")).toBe(false);
    expect(await readdir(cacheFolder)).toEqual([]);
  });

  it("of a token of another kind comes from here", async () => {
    await expect(download({ token: "a key of somewhere else" })).rejects.toMatchObject({
      code: "configuration_invalid",
      param: "HF_TOKEN",
    });
    expect(hub.requests).toEqual([]);
  });
});

it("Ctrl-C ends a connection that stands still, and keeps what came", async () => {
  const stop = new AbortController();
  const onProgress = ({ doneBytes }: DownloadProgress) => {
    if (doneBytes === 60_000) stop.abort();
  };
  hub.faults.push({ kind: "stall", afterBytes: 60_000 });
  await expect(download({ ...onlyCheckpoint, signal: stop.signal, onProgress })).rejects.toMatchObject({ code: "aborted" });
  expect(await kept()).toEqual(["checkpoint.pt.part"]);
  await download(onlyCheckpoint);
  expect(await kept()).toEqual(["checkpoint.pt"]);
});
