/** From an OpenFlamingo model's pieces to a model folder: the import from end to end. Owns nothing but the order; refuses forms (import/) and files (folder.ts). */
import type { ModelDescription } from "./description.ts";
import { writeModelFolder, type WriteOptions } from "./folder.ts";
import { readPieces, type Pieces } from "./import/pieces.ts";
import type { Preset } from "./import/presets.ts";

export interface ImportOptions extends WriteOptions {
  /** The released model that the pieces must make; without one they may make any. */
  readonly preset?: Preset;
}

/**
 * Reads the pieces, builds the graphs and writes the folder whole; a folder that stood there is replaced. Equal pieces give an equal contentHash.
 * Throws CodedError: model_piece_missing, model_piece_unsupported, model_piece_corrupt, pickle_refused, tensor_missing, tensor_surplus, tensor_misshapen,
 * preset_mismatch.
 */
export async function importModel(pieces: Pieces, folder: string, options: ImportOptions = {}): Promise<ModelDescription> {
  return writeModelFolder(await readPieces(pieces, options.preset), folder, options);
}
