/** Writes a model folder of an architecture with random weights. Owns nothing but the order. */
import type { Architecture } from "../architecture.ts";
import { writeModelFolder, type WriteOptions } from "../folder.ts";
import { randomModel } from "../random-model.ts";

export async function writeRandomModel(
  architecture: Architecture,
  { tokenizerJson, specialTokens }: Pick<Parameters<typeof randomModel>[1], "tokenizerJson" | "specialTokens">,
  folder: string,
  options: WriteOptions,
): Promise<void> {
  await writeModelFolder(randomModel(architecture, { seed: 1, biases: false, tokenizerJson, specialTokens }), folder, options);
}
