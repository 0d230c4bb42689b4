/**
 * `npm run parity -- <reference-folder>…`: imports each folder's pieces, computes all that its expected.* files hold, prints how near it comes,
 * and exits with 1 past the limits. The program's entry: owns flags and the exit status, refuses everything else.
 */
import { readdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { isCoded } from "@flamboyance/contracts";
import { deviceChoiceSchema } from "../device/choose-device.ts";
import { compare, type Comparison } from "./compare.ts";
import { compute } from "./compute.ts";
import { withEngine } from "./engine.ts";
import { readReference } from "./reference.ts";
import { writeDump, writeTable } from "./write.ts";

const help = `npm run parity -- [<reference-folder>…] [--dump <dir>] [--device <name>]

Imports each folder's pieces, computes all that its expected.json and expected.safetensors hold, and prints
reference × quantity → max error, limit, verdict. Without folders: all of packages/model/reference.

  --dump <dir>  also writes what was computed as actual.json and actual.safetensors, in the form of expected.*
                (with several folders: in <dir>/<reference>)
  --device <name>
                cpu, webgpu or auto: where generations and ranks are computed, for their tokens and scores (default: cpu)
  --help        prints this

Exits with 0 if everything holds, 1 if something is past its limit, 2 if a folder or flag is wrong.`;

const imagesFolder = "images";

process.exitCode = await main();

async function main(): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { dump: { type: "string" }, device: { type: "string", default: "cpu" }, help: { type: "boolean" } },
    });
    if (values.help === true) {
      console.log(help);
      return 0;
    }
    const device = deviceChoiceSchema.safeParse(values.device);
    if (!device.success) {
      console.error(`parity: --device is cpu, webgpu or auto, not ${values.device}`);
      return 2;
    }
    // A shell's reference/*/ names the folder of images too.
    const named = positionals
      .map((folder) => resolve(folder))
      .filter((folder) => positionals.length === 1 || basename(folder) !== imagesFolder);
    const folders = positionals.length > 0 ? named : await ownReferences();
    const results: { reference: string; comparisons: Comparison[] }[] = [];
    let refused = 0;
    for (const folder of folders) {
      try {
        const reference = await readReference(folder);
        const actual = await withEngine(reference, (engine) => compute(reference, engine), device.data);
        results.push({ reference: basename(folder), comparisons: compare(reference, actual) });
        if (values.dump !== undefined) await writeDump(folders.length === 1 ? values.dump : join(values.dump, basename(folder)), actual);
      } catch (error) {
        // One folder that is wrong doesn't hide what the others give.
        if (!isCoded(error)) throw error;
        console.error(`parity: ${basename(folder)}: ${error.code}: ${error.message}`);
        refused += 1;
      }
    }
    if (results.length > 0) console.log(writeTable(results));
    const faults = results.flatMap(({ reference, comparisons }) =>
      comparisons
        .filter(({ verdict }) => verdict === "fails")
        .map(({ quantity, firstFault }) => `${reference}: ${quantity}: ${firstFault ?? ""}`),
    );
    for (const fault of faults) console.error(`past its limit: ${fault}`);
    if (refused > 0) return 2;
    return faults.length === 0 ? 0 : 1;
  } catch (error) {
    // A flag that is wrong, or a folder that can't be written: the system's and Node's own errors carry a code.
    if (error instanceof Error && "code" in error) {
      console.error(`parity: ${error.message}`);
      return 2;
    }
    throw error;
  }
}

async function ownReferences(): Promise<string[]> {
  const folder = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "reference");
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory() && entry.name !== imagesFolder).map((entry) => join(folder, entry.name));
}
