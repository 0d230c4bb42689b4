/**
 * `npm run bench:import -- --preset <name>`: writes a released model's pieces at full size with made-up numbers (or holes), imports them, and runs the result once, each in a process
 * of its own; prints seconds, bytes and the peak of resident memory. The program's entry: owns flags, processes and the exit status; all that it writes is deleted.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { checkModel, importModel, readModelFolder, type ModelCheck, type Preset } from "@flamboyance/model";
import { writeReleasedPieces } from "@flamboyance/model/bench";
import { findPreset, presets } from "@flamboyance/model/presets";
import { peakMemoryBytes } from "./peak-memory.ts";

const help = `npm run bench:import -- [--preset openflamingo-3b-vitl-mpt1b] [--holes] [--folder <dir>] [--no-verify]

  --preset <name>  one of ${presets.map(({ name }) => name).join(", ")}
  --holes          pieces without numbers: they take no room on the disk, and read as zeros
  --folder <dir>   where the files are written for the time being (the system's folder for temporary files)
  --no-verify      without the run at the end, which needs memory for the whole model`;

const seed = 1;
const stepSchema = z.enum(["write", "import", "check"]);
type Step = z.infer<typeof stepSchema>;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      preset: { type: "string", default: "openflamingo-3b-vitl-mpt1b" },
      holes: { type: "boolean", default: false },
      folder: { type: "string", default: tmpdir() },
      verify: { type: "boolean", default: true },
      help: { type: "boolean", default: false },
      step: { type: "string" },
    },
    allowNegative: true,
  });
  const preset = findPreset(values.preset);
  if (values.help || preset === undefined) {
    console.log(help);
    return values.help ? 0 : 2;
  }
  // A process of our own: only one step, so that its peak of memory is that step's.
  if (values.step !== undefined) return runStep(stepSchema.parse(values.step), preset, values.folder, values.holes);

  const folder = await mkdtemp(join(values.folder, "flamboyance-bench-"));
  try {
    console.log(`${preset.name}, ${values.holes ? "holes" : "made-up numbers"}, one process per step`);
    console.log(`${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, Node ${process.version}`);
    console.log("\n| step | seconds | of the processor | bytes | peak of resident memory | |\n|---|---|---|---|---|---|");
    for (const step of values.verify ? stepSchema.options : (["write", "import"] as const)) {
      const { seconds, processorSeconds, bytes, peakBytes, remark } = await startStep(step, preset, folder, values.holes);
      console.log(
        `| ${step} | ${seconds.toFixed(1)} | ${processorSeconds.toFixed(1)} | ${gigabytes(bytes)} | ${gigabytes(peakBytes)} | ${remark} |`,
      );
    }
    return 0;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const resultSchema = z.object({
  seconds: z.number(),
  processorSeconds: z.number(),
  bytes: z.number(),
  peakBytes: z.number(),
  remark: z.string(),
});
type StepResult = z.infer<typeof resultSchema>;

async function startStep(step: Step, preset: Preset, folder: string, holes: boolean): Promise<StepResult> {
  const child = fork(import.meta.filename, ["--preset", preset.name, "--folder", folder, "--step", step, ...(holes ? ["--holes"] : [])]);
  const messages: unknown[] = [];
  child.on("message", (message) => messages.push(message));
  await once(child, "exit");
  if (messages.length === 0) throw new Error(`the step ${step} failed`);
  return resultSchema.parse(messages[0]);
}

async function runStep(step: Step, preset: Preset, folder: string, holes: boolean): Promise<number> {
  const [pieces, model] = [join(folder, "pieces"), join(folder, "model")];
  const started = performance.now();
  const { bytes, remark } = await steps[step](preset, pieces, model, holes);
  const { user, system } = process.cpuUsage();
  const seconds = (performance.now() - started) / 1_000;
  const result: StepResult = { seconds, processorSeconds: (user + system) / 1e6, bytes, peakBytes: await peakMemoryBytes(), remark };
  process.send?.(result);
  return 0;
}

const steps: Record<Step, (preset: Preset, pieces: string, model: string, holes: boolean) => Promise<{ bytes: number; remark: string }>> = {
  write: async (preset, folder, _model, holes) => {
    const { vision, languageModel, checkpoint } = await writeReleasedPieces(preset, folder, { seed: holes ? null : seed });
    const weights = preset.pieces.languageModel.files.filter((name) => name.endsWith(".bin")).map((name) => join(languageModel, name));
    const sizes = await Promise.all([vision, checkpoint, ...weights].map(async (path) => (await stat(path)).size));
    return { bytes: sizes.reduce((sum, size) => sum + size, 0), remark: "the pieces" };
  },
  import: async (preset, folder, model) => {
    const [vision, languageModel, checkpoint] = [join(folder, "vision"), join(folder, "lm"), join(folder, "checkpoint")];
    const [visionFile, checkpointFile] = [preset.pieces.vision.files[0], preset.pieces.checkpoint.files[0]];
    const pieces = { vision: join(vision, visionFile), languageModel, checkpoint: join(checkpoint, checkpointFile) };
    const { files, precision } = await importModel(pieces, model, { preset });
    return { bytes: Object.values(files).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0), remark: `the model folder, ${precision}` };
  },
  check: async (_preset, _pieces, model) => {
    const { files } = await readModelFolder(model);
    const bytes = Object.values(files).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return { bytes, remark: describeCheck(await checkModel(model)) };
  },
};

function describeCheck(check: ModelCheck): string {
  if (check.kind === "skipped") return `skipped: ${gigabytes(check.neededBytes)} needed, ${gigabytes(check.availableBytes)} free`;
  return `${check.newTokens} tokens (${check.finish}), mean log-probability ${check.meanLogProbability.toFixed(3)}`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

process.exitCode = await main();
