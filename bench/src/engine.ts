/**
 * `npm run bench:engine`: captions of images at OpenFlamingo-3B's shape, by our engine in each precision and by OpenFlamingo's own PyTorch code, on the same
 * machine in the same run. Owns the comparison and its table; each precision runs in a process of its own (engine-run.ts), so that its peak memory is its own.
 */
import { spawn } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { availableParallelism, cpus, homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { deviceChoiceSchema, precisionSchema, readModelFolder, type Precision } from "@flamboyance/model";
import {
  decoderProducts,
  measureMachine,
  productForms,
  visionProducts,
  writeRandomModel,
  type MachineLimits,
} from "@flamboyance/model/bench";
import { engineLine, peerReport, type EngineJob, type EngineReport, type PeerReport, type ShotsMeasure } from "./engine-job.ts";
import { architecture3B, letterTokenizer, specialTokens } from "./flamingo-3b.ts";

const HELP = `npm run bench:engine -- [options]

Captions 16 images with 3 beams and 20 tokens each, at 0, 4 and 32 shots, by a random model of OpenFlamingo-3B's shape; beside it OpenFlamingo in PyTorch,
and what the machine could do at best. Wants 12 GB of disk and 14 GB of memory for fp32, a fifth of it for int8.

  --precision <name>  fp32, int8 or int4; may be repeated      (default: all three)
  --images <n>        images of a run                          (default: 16)
  --shots <n>         may be repeated                          (default: 0, 4 and 32)
  --peer <python>     a Python with bench/peer/requirements.txt; without it the peer is left out
  --peer-batch <n>    images of the peer's run, one for each --shots   (default: 8, 4 and 1)
  --threads <n>       threads of a run                         (default: all cores)
  --device <name>     cpu, webgpu or auto                  (default: cpu)
  --cache <MiB>       room for images, and as much for prefixes   (default: 512)
  --state <folder>    where the models are made                (default: ~/.cache/flamboyance/bench-engine)
  --keep              leave the models there; another run with --keep takes them as they are
`;

/** How the worker's image has glibc give memory back (infra/Dockerfile). */
const workerMemory = { MALLOC_MMAP_THRESHOLD_: "1048576", MALLOC_TRIM_THRESHOLD_: "1048576" };
const newTokens = 20;
const beams = 3;
const shotTokens = 16;
const queryTokens = 8;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      precision: { type: "string", multiple: true, default: ["fp32", "int8", "int4"] },
      images: { type: "string", default: "16" },
      shots: { type: "string", multiple: true, default: ["0", "4", "32"] },
      peer: { type: "string" },
      "peer-batch": { type: "string", multiple: true, default: ["8", "4", "1"] },
      threads: { type: "string", default: String(availableParallelism()) },
      device: { type: "string", default: "cpu" },
      cache: { type: "string", default: "512" },
      state: { type: "string", default: join(homedir(), ".cache", "flamboyance", "bench-engine") },
      keep: { type: "boolean", default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const shots = values.shots.map(Number);
  const threads = Number(values.threads);
  const cacheBytes = Number(values.cache) * 2 ** 20;
  const job = {
    device: deviceChoiceSchema.parse(values.device),
    threads,
    cacheBytes,
    images: Number(values.images),
    beams,
    newTokens,
    shots,
    shotTokens,
    queryTokens,
  };
  const precisions = values.precision.map((name) => precisionSchema.parse(name));
  await mkdir(values.state, { recursive: true });

  say(
    `${cpus()[0]?.model.trim() ?? "unknown processor"}, ${threads} threads, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`,
  );
  const limits = await measureMachine(threads);
  say(
    `at best: ${Object.entries(limits.gigaOperations)
      .map(([form, rate]) => `${form} ${rate.toFixed(0)} GOP/s`)
      .join(", ")}; ${limits.gigabytes.toFixed(0)} GB/s`,
  );
  const reports = new Map<Precision, EngineReport>();
  for (const precision of precisions) {
    const folder = join(values.state, precision);
    await prepare(folder, precision, values.keep);
    note(`${precision}: captioning`);
    reports.set(precision, await runEngine(precision, { ...job, folder }));
    if (!values.keep) await rm(folder, { recursive: true, force: true });
  }
  const peer = values.peer === undefined ? [] : await runPeer(values.peer, { ...job, batches: values["peer-batch"].map(Number) });
  printSpeeds(job.images, reports, peer);
  printStages(job.images, reports, limits);
  printSpeedups(job.images, reports, peer);
}

/** Makes the model where it isn't there yet. */
async function prepare(folder: string, precision: Precision, keep: boolean): Promise<void> {
  if (keep && (await isThere(folder))) return;
  let shown = -1;
  await writeRandomModel(architecture3B, { tokenizerJson: letterTokenizer(), specialTokens }, folder, {
    precision,
    onProgress: ({ doneBytes, totalBytes }) => {
      const tenths = Math.floor((doneBytes * 10) / totalBytes);
      if (tenths !== shown) note(`${precision}: weights ${(shown = tenths) * 10} %`);
    },
  });
}

async function isThere(folder: string): Promise<boolean> {
  return readModelFolder(folder).then(
    () => true,
    () => false,
  );
}

async function runEngine(precision: Precision, job: EngineJob): Promise<EngineReport> {
  const file = join(import.meta.dirname, "engine-run.ts");
  const measures: ShotsMeasure[] = [];
  let peakBytes = NaN;
  for await (const text of linesOf(process.execPath, ["--conditions=@flamboyance/source", file, JSON.stringify(job)], workerMemory)) {
    const line = engineLine.parse(JSON.parse(text));
    if ("peakBytes" in line) peakBytes = line.peakBytes;
    else {
      measures.push(line);
      note(`${precision}: ${line.shots} shots, prefix ${line.prefix}: ${(line.seconds / job.images).toFixed(3)} s per caption`);
    }
  }
  return { measures, peakBytes };
}

async function runPeer(python: string, job: Omit<EngineJob, "folder"> & { readonly batches: readonly number[] }): Promise<PeerReport[]> {
  note("OpenFlamingo in PyTorch");
  const numbers = (values: readonly number[]) => values.map(String);
  const script = join(import.meta.dirname, "..", "peer", "open_flamingo_peer.py");
  const words = [script, "--shots", ...numbers(job.shots), "--batches", ...numbers(job.batches), "--beams", String(job.beams)];
  const lengths = [
    "--new-tokens",
    String(job.newTokens),
    "--shot-tokens",
    String(job.shotTokens),
    "--query-tokens",
    String(job.queryTokens),
  ];
  const reports: PeerReport[] = [];
  for await (const text of linesOf(python, [...words, ...lengths, "--threads", String(job.threads)])) {
    if (!text.startsWith("{")) continue;
    const report = peerReport.parse(JSON.parse(text));
    reports.push(report);
    note(`OpenFlamingo in PyTorch: ${report.shots} shots, batch ${report.batch}: ${report.seconds_per_caption.toFixed(3)} s per caption`);
  }
  return reports;
}

function printSpeeds(images: number, reports: ReadonlyMap<Precision, EngineReport>, peer: readonly PeerReport[]): void {
  say(
    "\n| shots | prefix | " +
      [...reports.keys()].map((precision) => `${precision}: s per caption`).join(" | ") +
      " | OpenFlamingo in PyTorch | its batch |",
  );
  say(`|---|---|${"---:|".repeat(reports.size + 2)}`);
  const [first] = reports.values();
  for (const [index, { shots, prefix }] of (first?.measures ?? []).entries()) {
    const found = [...reports.values()].map(({ measures }) => ((measures[index]?.seconds ?? NaN) / images).toFixed(3));
    const other = peer.find((report) => report.shots === shots);
    say(`| ${shots} | ${prefix} | ${found.join(" | ")} | ${other?.seconds_per_caption.toFixed(1) ?? "–"} | ${other?.batch ?? "–"} |`);
  }
  say(`\npeak memory: ${[...reports].map(([precision, { peakBytes }]) => `${precision} ${(peakBytes / 1e9).toFixed(2)} GB`).join(", ")}`);
}

function printStages(images: number, reports: ReadonlyMap<Precision, EngineReport>, limits: MachineLimits): void {
  say(
    "\n| precision | shots | prefix | vision s | prefill s | decode s | host s | vision: share of the best | decode: share of the best |",
  );
  say("|---|---|---|---:|---:|---:|---:|---:|---:|");
  const decodeSteps = newTokens - 1;
  for (const [precision, { measures }] of reports) {
    for (const { shots, prefix, spent } of measures) {
      const encoded = images + (prefix === "within" ? shots : 0);
      const forms = productForms[precision];
      const vision = (encoded * visionProducts(architecture3B)) / spent.vision / 1e9 / limits.gigaOperations[forms.vision];
      const decode =
        (images * beams * decodeSteps * decoderProducts(architecture3B)) / spent.decode / 1e9 / limits.gigaOperations[forms.decoder];
      const cells = [spent.vision, spent.prefill, spent.decode, spent.host].map((seconds) => seconds.toFixed(2));
      say(`| ${precision} | ${shots} | ${prefix} | ${cells.join(" | ")} | ${percent(vision)} | ${percent(decode)} |`);
    }
  }
}

function printSpeedups(images: number, reports: ReadonlyMap<Precision, EngineReport>, peer: readonly PeerReport[]): void {
  say("");
  for (const [precision, { measures }] of reports) {
    for (const { shots, prefix, seconds } of measures) {
      const other = peer.find((report) => report.shots === shots);
      if (other !== undefined)
        say(`speedup at ${shots} shots: ${((other.seconds_per_caption * images) / seconds).toFixed(1)} (${precision}, prefix ${prefix})`);
    }
    const [none, ready] = [find(measures, 0, "none"), find(measures, 32, "ready")];
    if (none !== undefined && ready !== undefined)
      say(`32 shots against our own 0 shots, prefix ready: ${(none.seconds / ready.seconds).toFixed(2)} (${precision})`);
  }
}

function find(measures: readonly ShotsMeasure[], shots: number, prefix: ShotsMeasure["prefix"]): ShotsMeasure | undefined {
  return measures.find((measure) => measure.shots === shots && measure.prefix === prefix);
}

/** What a program prints, line by line as it comes; throws where it ends otherwise than with 0. */
async function* linesOf(
  command: string,
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): AsyncGenerator<string> {
  const child = spawn(command, words, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...environment } });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  // A program that can't be started has no lines either: what was wrong is said below.
  ended.catch(() => undefined);
  yield* createInterface({ input: child.stdout });
  const code = await ended;
  if (code !== 0) throw new Error(`${command} ${words[0] ?? ""} ended with code ${code}`);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

await main();
