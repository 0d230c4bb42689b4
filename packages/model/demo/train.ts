// `npm run demo:train`: the demo model from nothing. Prepares Python, renders the scenes, runs train.py, exports the pieces. Every
// step goes on where it was stopped; all state lies outside the work tree. Owns the order of the steps and no step itself.
import { spawn } from "node:child_process";
import { access, mkdir, readFile, readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeDataset } from "./write-dataset.ts";

const HELP = `npm run demo:train -- [options]

Trains the demo model and writes its pieces. Stop it at any time; the same command goes on. On two cores with AVX2 it takes
about an hour and a half, with 11 GB of disk while the scenes are drawn and 2 GB afterwards, and 6 GB of memory.

  --state <folder>    where dataset, checkpoints and milestones lie   (default: ~/.cache/flamboyance/demo-train)
  --pieces <folder>   where the trained pieces are written            (default: packages/model/demo/pieces)
  --scenes <n>        training scenes to render                       (default: 138000)
  --sight-steps <n>   steps of stage one, the image encoder alone     (default: 1200)
  --steps <n>         steps of stage two, the end of the cosine       (default: 2000; more than a finished run had: it goes on)
  --python <command>  Python 3.8 to 3.11, for the virtual environment (default: the first that is found)
  --venv <folder>     a ready virtual environment with requirements.txt installed
  --threads <n>       threads of PyTorch                              (default: 2)
  --float32           no bfloat16 products, even where the processor has them
`;

/** Seeds 0–499 measure the model, 10,000–10,199 are watched while it trains, training seeds start at a million. */
const SPLITS = [
  { name: "held-out", heldOut: true, firstSeed: 0, count: 500 },
  { name: "development", heldOut: true, firstSeed: 10_000, count: 200 },
] as const;
const TRAINING_FROM = 1_000_000;

const folder = fileURLToPath(new URL(".", import.meta.url));

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      state: { type: "string", default: join(homedir(), ".cache", "flamboyance", "demo-train") },
      pieces: { type: "string", default: join(folder, "pieces") },
      scenes: { type: "string", default: "138000" },
      "sight-steps": { type: "string", default: "1200" },
      steps: { type: "string", default: "2000" },
      python: { type: "string" },
      venv: { type: "string" },
      threads: { type: "string", default: "2" },
      float32: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  await mkdir(values.state, { recursive: true });
  const python = values.venv === undefined ? await prepareVenv(values.state, values.python) : join(values.venv, "bin", "python");
  await render(join(values.state, "dataset"), Number(values.scenes));

  const bf16 = !values.float32 && (await hasBfloat16()) ? ["--bf16"] : [];
  const lengths = ["--sight-steps", values["sight-steps"], "--steps", values.steps, "--threads", values.threads];
  await run(python, [join(folder, "train.py"), "--state", values.state, ...lengths, ...bf16]);

  const milestones = (await readdir(join(values.state, "milestones"))).filter((name) => name.endsWith(".pt")).toSorted();
  const last = milestones.at(-1);
  if (last === undefined) throw new Error(`no milestone under ${values.state}`);
  const milestone = join(values.state, "milestones", last);
  await run(python, [join(folder, "train.py"), "--state", values.state, "--evaluate", milestone]);
  await run(python, [join(folder, "export.py"), "--state", values.state, "--milestone", milestone, "--pieces", values.pieces]);
}

async function prepareVenv(state: string, wanted: string | undefined): Promise<string> {
  const venv = join(state, "venv");
  const python = join(venv, "bin", "python");
  if (!(await exists(join(venv, "ready")))) {
    await run(await findPython(wanted), ["-m", "venv", venv]);
    await run(python, ["-m", "pip", "install", "--quiet", "-r", join(folder, "requirements.txt")]);
    await run(python, ["-c", `import torch, tokenizers, PIL, safetensors; open(${JSON.stringify(join(venv, "ready"))}, "w").close()`]);
  }
  return python;
}

async function findPython(wanted: string | undefined): Promise<string> {
  const supported = "import sys, venv; sys.exit(0 if (3, 8) <= sys.version_info[:2] <= (3, 11) else 1)";
  for (const command of wanted === undefined ? ["python3.11", "python3.10", "python3"] : [wanted]) {
    try {
      await run(command, ["-c", supported]);
      return command;
    } catch {
      // Not installed, or another version: the next one.
    }
  }
  throw new Error("needs Python 3.8 to 3.11 with the venv module (PyTorch 2.0.1 has no later one): name it with --python");
}

async function render(dataset: string, count: number): Promise<void> {
  const started = Date.now();
  for (const { name, ...split } of SPLITS) await writeDataset({ folder: join(dataset, name), ...split });
  await writeDataset({
    folder: join(dataset, "training"),
    heldOut: false,
    firstSeed: TRAINING_FROM,
    count,
    onShard: (_, done) => {
      const secondsEach = (Date.now() - started) / 1000 / done;
      if (done % 10_000 === 0) process.stdout.write(`rendered ${done}/${count}, ${Math.round(secondsEach * (count - done))} s left\n`);
    },
  });
}

/** Where matrix products in bfloat16 are faster than in float32 (measured: twice, with AVX512-BF16), not merely emulated. */
async function hasBfloat16(): Promise<boolean> {
  const flags = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  return /\b(avx512_bf16|amx_bf16)\b/.test(flags);
}

function run(command: string, words: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, { stdio: "inherit" });
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ${words[0] ?? ""} ended with ${signal ?? `code ${code}`}`));
    });
  });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

await main();
