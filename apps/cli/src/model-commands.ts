/** The commands that make model folders, on this machine. Owns their flags, help and examples; what one does lies in model-import.ts. */
import type { DeviceChoice, Precision } from "@flamboyance/model";
import { Option } from "commander";
import { defaultCacheFolder, defaultHubEndpoint } from "./config.ts";
import { importModelFolder, listPresets, type ImportFlags } from "./model-import.ts";
import type { CommonFlags, Shell } from "./shell.ts";

const precisions: readonly Precision[] = ["fp32", "int8", "int4"];
const devices: readonly DeviceChoice[] = ["cpu", "webgpu", "auto"];

export function addModelCommands({ program, terminal, command }: Shell): void {
  const model = program.command("model").description("Make model folders, on this machine.");
  command(
    model,
    "import",
    "Import an OpenFlamingo model from its pieces into a model folder.",
    `flamboyance model import models/flamingo-3b --preset openflamingo-3b-vitl-mpt1b
flamboyance model import models/flamingo-3b --preset openflamingo-3b-vitl-mpt1b --vision ViT-L-14.pt --lm mpt-1b-redpajama-200b --checkpoint checkpoint.pt
flamboyance model import models/mine --vision ViT-L-14.pt --lm mpt-1b-redpajama-200b --checkpoint checkpoint.pt`,
  )
    .argument("<folder>", "the model folder to write; one that stands there is replaced")
    .option("--preset <name>", "a released model of `flamboyance model presets`: pieces without a path are downloaded, all are checked")
    .option("--vision <file>", "CLIP's weights: .safetensors, .bin, or OpenAI's .pt archive")
    .option("--vision-config <file>", "open_clip_config.json or config.json, where none lies beside the weights")
    .option("--lm, --language-model <folder>", "a Hugging Face folder: config.json, tokenizer.json, weights")
    .option("--checkpoint <file>", "OpenFlamingo's checkpoint.pt")
    .option("--name <name>", "the model's name (default: the folder's)")
    .addOption(
      new Option("--precision <precision>", "fp32 is the reference; int8 is fastest for many rows, int4 smallest")
        .choices(precisions)
        .default("fp32"),
    )
    .option("--cache <folder>", `where downloads are kept (default: ~/${defaultCacheFolder})`)
    .option("--no-verify", "don't run the model once at the end")
    .addOption(
      new Option("--device <device>", "where that run computes; auto: the GPU where it is faster and runs the model")
        .choices(devices)
        .default("cpu"),
    )
    .addHelpText(
      "after",
      `
Environment:
  HF_ENDPOINT   where pieces are downloaded from (${defaultHubEndpoint})
  HF_TOKEN      a token of the Hub, for repositories that want one`,
    )
    .action(async (folder: string, flags: Omit<ImportFlags, "json"> & { json?: boolean }) =>
      importModelFolder(terminal, folder, { ...flags, json: flags.json === true }),
    );
  command(
    model,
    "presets",
    "List the released models that `model import --preset` knows.",
    "flamboyance model presets\nflamboyance model presets --json | jq .pieces",
  ).action(async (flags: CommonFlags) => listPresets(terminal, { json: flags.json === true }));
}
