/**
 * Dashboard and alerts against the running system: a real Prometheus scrapes api and worker while they caption images with a real, tiny model,
 * and is then asked every expression that an operator would see.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startTestServer, type RunningTestServer } from "@flamboyance/dev/s3";
import { startSystem, type System } from "@flamboyance/dev/system";
import { openStorage, type Storage } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ask, findProgram } from "./programs.ts";
import { startPrometheus, type Prometheus, type Sample } from "./prometheus.ts";
import { dashboardExpressions, readRules } from "./rules.ts";
import { runTinyBatch, tinyOutcome, writeTinyDataset } from "./tiny-dataset.ts";

const startTimeoutMs = 180_000;
const program = findProgram("prometheus");
const promtool = findProgram("promtool");

describe.skipIf(program === null || promtool === null)("what an operator sees", () => {
  let folder = "";
  let s3: RunningTestServer;
  let storage: Storage;
  let system: System;
  let prometheus: Prometheus;

  /** Asks again until the answer holds: figures are there one or two scrapes after what they tell of. */
  const until = async <Value>(what: string, look: () => Promise<Value>, holds: (value: Value) => boolean): Promise<void> => {
    const deadline = AbortSignal.timeout(45_000);
    for (;;) {
      const value = await look();
      if (holds(value)) return;
      if (deadline.aborted) throw new Error(`${what} stays ${JSON.stringify(value)}`);
      await sleep(200);
    }
  };
  const untilFigure = (expr: string, holds: (samples: readonly Sample[]) => boolean) => until(expr, () => prometheus.query(expr), holds);

  beforeAll(async () => {
    const signal = AbortSignal.timeout(startTimeoutMs);
    folder = await mkdtemp(join(tmpdir(), "flamboyance-observe-"));
    s3 = await startTestServer();
    storage = openStorage({ ...s3, pathStyle: true });
    const environment = { FLAMBOYANCE_ENGINE_THREADS: "1", FLAMBOYANCE_DECODE_THREADS: "1" };
    system = await startSystem({ folder, s3, environment }, () => writeTinyDataset(storage, join(folder, "model"), signal));
    const { api, workers } = system;
    prometheus = await startPrometheus(program ?? "", join(folder, "prometheus"), {
      "flamboyance-api": [new URL(api.url).host],
      "flamboyance-worker": workers.map(({ url }) => new URL(url).host),
    });
    // The first batch makes the series, the second makes them grow: a rate needs both.
    for (const batches of [1, 2]) {
      expect(await runTinyBatch(system, signal)).toMatchObject(tinyOutcome);
      await untilFigure("sum(flamboyance_items_total)", ([items]) => items?.value === tinyOutcome.request_counts.total * batches);
    }
  }, startTimeoutMs);

  afterAll(async () => {
    await prometheus?.close();
    await system?.close();
    storage?.close();
    await s3?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it.each(dashboardExpressions())("has a figure for $title: $expr", async ({ expr }) => {
    await untilFigure(expr.replaceAll("$__rate_interval", "10m"), (samples) => samples.some(({ value }) => Number.isFinite(value)));
  });

  it("evaluates every alert without an error", async () => {
    for (const { expr } of readRules()) await prometheus.query(expr);
    const wanted = readRules().map(({ alert: name }) => `${name}: ok`);
    const healths = async () => (await prometheus.rules()).map(({ name, health, lastError = "" }) => `${name}: ${health}${lastError}`);
    await until("the rules' health", healths, (found) => found.join() === wanted.join());
  });

  it("has each metric of the alerts, with the labels that they ask for", async () => {
    const selectors = readRules().flatMap(({ expr }) => [...expr.matchAll(/\b(flamboyance_\w+|up)(?:\{([^}]*)\})?/g)]);
    expect(selectors.length).toBeGreaterThan(10);
    for (const [, metric = "", matchers = ""] of selectors) {
      const labels = [...matchers.matchAll(/(\w+)\s*[=!]/g)].map(([, label = ""]) => `${label}!=""`);
      const samples = await prometheus.query(`count(${metric}{${labels.join()}})`);
      expect(samples, `${metric}{${labels.join()}}`).not.toEqual([]);
    }
  });

  it("has metrics of a good form, by promtool", async () => {
    const { api, workers } = system;
    for (const { url } of [api, ...workers]) {
      const input = await (await fetch(`${url}/metrics`)).text();
      expect(input).toContain("flamboyance_");
      const { text } = await ask(promtool ?? "", ["check", "metrics"], { input });
      // prom-client's own names for Node's handles end in _total though they are gauges.
      expect(text.split("\n").filter((line) => line !== "" && !line.startsWith("nodejs_"))).toEqual([]);
    }
  });
});
