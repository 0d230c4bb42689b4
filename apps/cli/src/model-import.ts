/**
 * `model import`: an OpenFlamingo's pieces become a model folder. The model package (and its native runtime) is loaded only here, only then;
 * the presets are data, and have a door of their own. Owns what is fetched and what is said; refuses knowledge of forms.
 */
import { stat } from "node:fs/promises";
import type { DeviceChoice, ModelCheck, ModelDevice, PieceName, Precision, Preset } from "@flamboyance/model";
import { findPreset, presets } from "@flamboyance/model/presets";
import { openByteProgress } from "./byte-progress.ts";
import { hubSettings } from "./config.ts";
import { Detached, UsageError } from "./failure.ts";
import { formatBytes, formatTable } from "./table.ts";
import { print, type Terminal } from "./terminal.ts";

export interface ImportFlags {
  readonly preset?: string;
  readonly vision?: string;
  readonly visionConfig?: string;
  readonly languageModel?: string;
  readonly checkpoint?: string;
  readonly name?: string;
  readonly precision: Precision;
  readonly cache?: string;
  readonly verify: boolean;
  readonly device: DeviceChoice;
  readonly json: boolean;
}

const flagOf: Readonly<Record<PieceName, string>> = { vision: "--vision", languageModel: "--language-model", checkpoint: "--checkpoint" };
const pieceNames = ["vision", "languageModel", "checkpoint"] as const;

export async function importModelFolder(terminal: Terminal, folder: string, flags: ImportFlags): Promise<void> {
  try {
    await importFolder(terminal, folder, flags);
  } catch (error) {
    if (terminal.signal.aborted) {
      const fetches = pieceNames.some((name) => flags[name] === undefined);
      throw new Detached(
        fetches ? "Given up. What was downloaded is kept: the same command goes on with it." : "Given up; nothing was written.",
      );
    }
    throw error;
  }
}

async function importFolder(terminal: Terminal, folder: string, flags: ImportFlags): Promise<void> {
  const missing = pieceNames.filter((name) => flags[name] === undefined);
  if (flags.preset === undefined && missing[0] !== undefined)
    throw new UsageError(`${flagOf[missing[0]]} is needed, or --preset, which fetches it`);
  for (const path of [flags.vision, flags.languageModel, flags.checkpoint, flags.visionConfig]) {
    if (path === undefined) continue;
    await stat(path).catch(() => {
      throw new UsageError(`${path}: no such file or folder`);
    });
  }
  const preset = flags.preset === undefined ? undefined : findPreset(flags.preset);
  if (preset === undefined && flags.preset !== undefined)
    throw new UsageError(`--preset ${flags.preset} isn't one of ${presets.map(({ name }) => name).join(", ")}`);
  const fetched = preset === undefined || missing.length === 0 ? {} : await fetchPieces(terminal, preset, missing, flags.cache);
  const place = (name: PieceName): string => flags[name] ?? fetched[name] ?? "";

  const model = await import("@flamboyance/model");
  const progress = openByteProgress(terminal, "writing");
  const description = await model
    .importModel(
      {
        vision: place("vision"),
        languageModel: place("languageModel"),
        checkpoint: place("checkpoint"),
        ...(flags.visionConfig === undefined ? {} : { visionConfig: flags.visionConfig }),
      },
      folder,
      {
        ...(preset === undefined ? {} : { preset }),
        ...(flags.name === undefined ? {} : { name: flags.name }),
        precision: flags.precision,
        signal: terminal.signal,
        onProgress: ({ doneBytes, totalBytes }) => progress.show(doneBytes, totalBytes),
      },
    )
    .finally(() => progress.stop());
  const { name, contentHash, precision, notes } = description;
  const lines = [`${name} (${precision}, content ${contentHash.slice(0, 12)}…) stands in ${folder}`, ...notes.map((note) => `  ${note}`)];
  await print(terminal.out, flags.json ? `${JSON.stringify(description)}\n` : `${lines.join("\n")}\n`);
  if (flags.verify)
    await print(terminal.err, `${checkLine(await model.checkModel(folder, { device: flags.device, signal: terminal.signal }))}\n`);
}

async function fetchPieces(
  terminal: Terminal,
  preset: Preset,
  wanted: readonly PieceName[],
  cache: string | undefined,
): Promise<Partial<Record<PieceName, string>>> {
  const settings = hubSettings(terminal.environment, cache);
  const { downloadPieces } = await import("@flamboyance/model");
  const progress = openByteProgress(terminal, "downloading");
  return downloadPieces(preset, {
    ...settings,
    wanted,
    signal: terminal.signal,
    onProgress: ({ doneBytes, totalBytes }) => progress.show(doneBytes, totalBytes),
  }).finally(() => progress.stop());
}

function checkLine(check: ModelCheck): string {
  if (check.kind === "skipped")
    return `not verified: a run needs about ${formatBytes(check.neededBytes)} of memory, and ${formatBytes(check.availableBytes)} are free`;
  const { promptTokens, newTokens, finish, meanLogProbability, seconds, device } = check;
  const answer = `${newTokens} tokens (${finish}) after ${promptTokens}, mean log-probability ${meanLogProbability.toFixed(3)}`;
  return `verified: one image and a prompt ran through both graphs: ${answer}, in ${seconds.toFixed(1)} s on ${deviceText(device)}`;
}

function deviceText({ kind, fallback }: ModelDevice): string {
  if (kind === "webgpu") return "WebGPU";
  return fallback === null ? "the CPU" : `the CPU: ${fallback}`;
}

/** `model presets`. */
export async function listPresets(terminal: Terminal, { json }: { readonly json: boolean }): Promise<void> {
  if (json) {
    for (const { name, pieces, architecture, quirks } of presets)
      await print(terminal.out, `${JSON.stringify({ name, pieces, architecture, quirks })}\n`);
    return;
  }
  const rows = presets.map(({ name, pieces, architecture: { crossAttention } }) => [
    name,
    pieces.languageModel.repository,
    pieces.checkpoint.repository,
    String(crossAttention.every),
  ]);
  await print(terminal.out, formatTable(["preset", "language model", "checkpoint", "cross attention every"], rows));
}
