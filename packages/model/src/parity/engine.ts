/** The engine under test: a reference's pieces imported into a folder of its own and opened. Owns that folder's life; refuses computing. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { openSession } from "../device/cpu-session.ts";
import { folderFiles, type ModelDescription } from "../description.ts";
import { hostMemory } from "../generate/host-memory.ts";
import type { Memory } from "../generate/memory.ts";
import { createRunner, type Runner } from "../generate/runner.ts";
import { tensorSizes, type TensorSizes } from "../generate/tensor-sizes.ts";
import { importModel } from "../import-model.ts";
import type { DeviceChoice } from "../device/choose-device.ts";
import type { Model } from "../model.ts";
import { assembleModel, openModel } from "../open-model.ts";
import type { Session } from "../session.ts";
import { openTokenizer, type Tokenizer } from "../tokenizer.ts";
import type { Reference } from "./reference.ts";

export interface EngineUnderTest {
  readonly description: ModelDescription;
  readonly tokenizer: Tokenizer;
  readonly vision: Session;
  readonly decoder: Session;
  readonly runner: Runner;
  readonly memory: Memory;
  readonly sizes: TensorSizes;
  readonly model: Model;
}

/** Imports, opens, lets `work` use it, and leaves nothing behind. `device`: where `model` computes; the parts beside it are always the CPU's. */
export async function withEngine<Result>(
  reference: Reference,
  work: (engine: EngineUnderTest) => Promise<Result>,
  device: DeviceChoice = "cpu",
): Promise<Result> {
  const parent = await mkdtemp(join(tmpdir(), "flamboyance-parity-"));
  try {
    const folder = join(parent, basename(reference.folder));
    const description = await importModel(reference.pieces, folder);
    const tokenizer = openTokenizer(await readFile(join(folder, folderFiles.tokenizer), "utf8"));
    // The references are tiny: a second thread would only be waited for.
    const vision = await openSession(join(folder, folderFiles.visionGraph), { threads: 1 });
    const decoder = await openSession(join(folder, folderFiles.decoderGraph), { threads: 1 });
    const onCpu = assembleModel({ description, tokenizer, vision, decoder });
    const model = device === "cpu" ? onCpu : await openModel(folder, { device });
    try {
      const sizes = tensorSizes(description.architecture);
      const memory = hostMemory(sizes);
      const runner = createRunner({ vision, decoder }, memory, sizes, description.preprocessing.imageSize);
      return await work({ description, tokenizer, vision, decoder, runner, memory, sizes, model });
    } finally {
      if (model !== onCpu) await model.close();
      await onCpu.close();
    }
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
}
