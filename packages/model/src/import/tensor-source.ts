/** One tensor of a file, known by its description and read only when asked. Owns the contract of every reader; refuses to hold a tensor's bytes. */
export type TensorType = "f32" | "f16" | "bf16";

export interface TensorSource {
  /** As in its file, for messages. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: TensorType;
  readonly sizeBytes: number;
  /** Raw little-endian numbers in the order of `shape`, contiguous. Each call reads the file anew. */
  read(): Promise<Uint8Array>;
}

export const bytesPerNumber: Readonly<Record<TensorType, number>> = { f32: 4, f16: 2, bf16: 2 };

export function numberCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
