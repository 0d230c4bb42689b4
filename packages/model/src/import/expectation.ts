/**
 * Holds what was read of a piece against what a preset expects. Owns preset_mismatch and the sentence that names the expected piece;
 * refuses nothing where no preset was named.
 */
import { CodedError, isCoded } from "@flamboyance/contracts";
import type { Preset } from "./presets.ts";

type PieceName = keyof Preset["pieces"];

/** Reads a piece; an error that may mean a wrong piece also says which one the preset expects. */
export async function readExpected<T>(preset: Preset | undefined, piece: PieceName, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (preset === undefined || !isCoded(error, "tensor_missing", "tensor_surplus", "tensor_misshapen", "model_piece_unsupported"))
      throw error;
    throw new CodedError(error.code, `${error.message}; ${expectedPiece(preset, piece)}`, {
      ...(error.param === null ? {} : { param: error.param }),
      cause: error,
    });
  }
}

/** Throws preset_mismatch with the first difference; `param` is its path, as `decoder.layers`. */
export function checkExpected(
  preset: Preset,
  piece: PieceName,
  path: string,
  sides: { readonly found: unknown; readonly expected: unknown },
): void {
  const difference = firstDifference(path, sides.found, sides.expected);
  if (difference === null) return;
  const { at, found, expected } = difference;
  throw new CodedError(
    "preset_mismatch",
    `${at} is ${JSON.stringify(found)} where ${preset.name} has ${JSON.stringify(expected)}; ${expectedPiece(preset, piece)}`,
    { param: at },
  );
}

function expectedPiece(preset: Preset, piece: PieceName): string {
  const words = { vision: "vision file", languageModel: "language model", checkpoint: "checkpoint" };
  return `the preset's ${words[piece]} is ${preset.pieces[piece].repository}`;
}

interface Difference {
  readonly at: string;
  readonly found: unknown;
  readonly expected: unknown;
}

/** Numbers count as equal within their last bits: slopes and scales are computed in more than one place. */
function firstDifference(at: string, found: unknown, expected: unknown): Difference | null {
  if (isRecord(found) && isRecord(expected)) {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(found)])) {
      const difference = firstDifference(`${at}.${key}`, found[key], expected[key]);
      if (difference !== null) return difference;
    }
    return null;
  }
  const equal =
    typeof found === "number" && typeof expected === "number"
      ? Math.abs(found - expected) <= 1e-6 * Math.abs(expected)
      : found === expected;
  return equal ? null : { at, found, expected };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
