/** `model import`: an OpenFlamingo's pieces become a model folder. The model package (and its native runtime) is loaded only here, only then. */
import { stat } from "node:fs/promises";
import { UsageError } from "./failure.ts";
import { print, type Terminal } from "./terminal.ts";

export interface ImportFlags {
  readonly vision: string;
  readonly visionConfig?: string;
  readonly languageModel: string;
  readonly checkpoint: string;
  readonly name?: string;
  readonly json: boolean;
}

export async function importModelFolder(terminal: Terminal, folder: string, flags: ImportFlags): Promise<void> {
  for (const path of [
    flags.vision,
    flags.languageModel,
    flags.checkpoint,
    ...(flags.visionConfig === undefined ? [] : [flags.visionConfig]),
  ]) {
    await stat(path).catch(() => {
      throw new UsageError(`${path}: no such file or folder`);
    });
  }
  const { importModel } = await import("@flamboyance/model");
  let shown = -1;
  const description = await importModel(
    {
      vision: flags.vision,
      languageModel: flags.languageModel,
      checkpoint: flags.checkpoint,
      ...(flags.visionConfig === undefined ? {} : { visionConfig: flags.visionConfig }),
    },
    folder,
    {
      ...(flags.name === undefined ? {} : { name: flags.name }),
      signal: terminal.signal,
      onProgress: ({ doneBytes, totalBytes }) => {
        const tenths = Math.floor((doneBytes * 10) / Math.max(1, totalBytes));
        if (tenths === shown) return;
        shown = tenths;
        terminal.err.write(`written: ${tenths * 10} %\n`);
      },
    },
  );
  const { name, contentHash, precision, notes } = description;
  if (flags.json) return print(terminal.out, `${JSON.stringify(description)}\n`);
  const lines = [`${name} (${precision}, content ${contentHash.slice(0, 12)}…) stands in ${folder}`, ...notes.map((note) => `  ${note}`)];
  return print(terminal.out, `${lines.join("\n")}\n`);
}
