import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import type { Storage } from "@flamboyance/storage";
import { afterEach, expect, it } from "vitest";
import type { Engine } from "./engine.ts";
import { openLog } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { openServedModels } from "./served-models.ts";

const signal = new AbortController().signal;
const key = `${"0".repeat(64)}-fp32`;

/** A description that is whole in form; its model has no files. */
const description = {
  formatVersion: 2,
  name: "m",
  contentHash: "0".repeat(64),
  precision: "fp32",
  architecture: {
    vision: { imageSize: 64, patchSize: 8, width: 64, layers: 1, heads: 1, mlpWidth: 64, activation: "gelu", embeddingWidth: 64 },
    resampler: { layers: 1, latents: 1, innerWidth: 64, feedForwardWidth: 64, maxFrames: null },
    crossAttention: { every: 1, innerWidth: 64, feedForwardWidth: 64 },
    decoder: {
      width: 64,
      layers: 1,
      heads: 1,
      mlpWidth: 64,
      vocabularySize: 4,
      maxPositions: null,
      positions: { kind: "alibi", slopes: [1] },
      queryKeyNorm: false,
      residual: "sequential",
      layerNormEps: 1e-5,
      softmaxScale: 0.125,
      tiedHead: true,
    },
  },
  preprocessing: { imageSize: 64, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  specialTokens: { endOfChunk: 0, image: 1, pad: 2, endOfText: null },
  files: {},
  limits: { maxPositions: 2_048, maxPromptTokens: 2_000, maxFrames: 1 },
  notes: [],
};

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

/** A worker's one model; what was done with it is noted. The engine's life is in the test's hands. */
async function served() {
  const cache = await mkdtemp(join(tmpdir(), "served-"));
  folders.push(cache);
  const done: string[] = [];
  const engines: AbortController[] = [];
  const state = { opens: true, wanted: true, content: "0" };
  const storage: Partial<Storage> = {
    read: () => {
      const text = JSON.stringify({ ...description, contentHash: state.content.repeat(64) });
      return Promise.resolve({ bytes: Buffer.from(text), etag: "", contentType: null });
    },
  };
  const models = openServedModels({
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that the catalogue uses
    storage: storage as Storage,
    bucket: "service",
    cache,
    names: ["m"],
    metrics: createMetrics(() => Promise.resolve([])),
    log: openLog({ level: "silent", worker: "w" }),
    open: () => {
      if (!state.opens) return Promise.reject(new CodedError("model_folder_invalid", "its weights can't be read"));
      const life = new AbortController();
      engines.push(life);
      const engine: Engine = {
        device: "cpu",
        lost: life.signal,
        generate: () => Promise.reject(new Error("no row runs here")),
        rank: () => Promise.reject(new Error("no row runs here")),
        stats: () => Promise.resolve(null),
        close: () => {
          done.push("engine closed");
          return Promise.resolve();
        },
      };
      return Promise.resolve(engine);
    },
    consume: () => {
      done.push("consuming");
      return {
        running: () => 0,
        close: ({ drainMs = 0 } = {}) => {
          done.push(`consumer closed, ${drainMs} ms to drain`);
          return Promise.resolve();
        },
      };
    },
    withdraw: (of) => {
      done.push(`withdrawn ${of === key ? "the model" : of}`);
      return Promise.resolve();
    },
    isWanted: () => Promise.resolve(state.wanted),
  });
  return { models, done, engines, state };
}

it("takes no more chunks of a model whose engine is lost, and hands back those in hand", async () => {
  const { models, done, engines } = await served();
  await models.refresh(signal);
  expect(models.keys()).toEqual([key]);
  engines[0]?.abort(new CodedError("model_folder_invalid", "its weights are gone"));
  expect(models.keys()).toEqual([]);
  await models.close();
  expect(done).toEqual(["consuming", "withdrawn the model", "consumer closed, 0 ms to drain", "engine closed"]);
});

it("tries a lost model again at each look, and serves it once it can be opened", async () => {
  const { models, done, engines, state } = await served();
  await models.refresh(signal);
  engines[0]?.abort(new CodedError("model_folder_invalid", "its weights are gone"));
  state.opens = false;
  await models.refresh(signal);
  expect(models.keys()).toEqual([]);
  state.opens = true;
  await models.refresh(signal);
  expect(models.keys()).toEqual([key]);
  expect(done.filter((step) => step === "consuming")).toHaveLength(2);
  await models.stop(5_000);
  expect(done.at(-1)).toBe("consumer closed, 5000 ms to drain");
});

it("serves a content that was replaced until no batch names it", async () => {
  const { models, done, state } = await served();
  await models.refresh(signal);
  state.content = "1";
  const replaced = `${"1".repeat(64)}-fp32`;
  for (let look = 0; look < 3; look++) await models.refresh(signal);
  expect(models.keys()).toEqual([key, replaced]);
  state.wanted = false;
  await models.refresh(signal);
  expect(models.keys()).toEqual([replaced]);
  expect(done.slice(2, 4)).toEqual(["withdrawn the model", "consumer closed, 0 ms to drain"]);
});

it("waits for a second look before it closes a model that no name leads to", async () => {
  const { models, state } = await served();
  await models.refresh(signal);
  Object.assign(state, { content: "1", wanted: false });
  await models.refresh(signal);
  expect(models.keys()).toContain(key);
  await models.refresh(signal);
  expect(models.keys()).not.toContain(key);
});
