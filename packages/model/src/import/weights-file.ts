/** Opens a file of weights by its first bytes, whatever its name says. Owns the choice of the reader; refuses forms that none of them knows. */
import { CodedError } from "@flamboyance/contracts";
import { fileSizeBytes, readRange } from "./piece-file.ts";
import { readPytorchLegacy, readPytorchZip, type PytorchFile } from "./pytorch-archive.ts";
import { readSafetensors } from "./safetensors.ts";

/** The file's tensors by name, none of them read yet. */
export async function readWeights(path: string): Promise<PytorchFile> {
  const [a, b, c, d, , , , , i] = await readRange(path, 0, Math.min(9, await fileSizeBytes(path)));
  if (a === 0x50 && b === 0x4b && c === 0x03 && d === 0x04) return readPytorchZip(path);
  if (a === 0x80 && b !== undefined && b <= 5) return readPytorchLegacy(path);
  if (i === openingBrace) return { tensors: await readSafetensors(path), moduleClasses: null };
  throw new CodedError("model_piece_unsupported", `${path} is neither safetensors nor a PyTorch file`);
}

const openingBrace = 0x7b;
