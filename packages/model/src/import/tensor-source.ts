/** One tensor of a file, known by its description and read only when asked. Owns the contract of every reader; refuses to hold a tensor's bytes. */

/** What a file may hold; `TensorType` is what a model's weights may be. */
export type StoredType = TensorType | "f64" | "i64" | "i32" | "i16" | "i8" | "u8" | "bool";
export type TensorType = "f32" | "f16" | "bf16";

export interface StoredTensor {
  /** As in its file, for messages. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: StoredType;
  readonly sizeBytes: number;
  /** Raw little-endian numbers in the order of `shape`, contiguous. Each call reads the file anew. */
  read(): Promise<Uint8Array>;
  /** A part of those bytes; not there where the file doesn't hold them in this order. */
  readonly readPart?: (offsetBytes: number, lengthBytes: number) => Promise<Uint8Array>;
}

export interface TensorSource extends StoredTensor {
  readonly dtype: TensorType;
}

export const bytesPerNumber: Readonly<Record<StoredType, number>> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  f64: 8,
  i64: 8,
  i32: 4,
  i16: 2,
  i8: 1,
  u8: 1,
  bool: 1,
};

export function numberCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** True where the tensor's numbers are of a type that weights may have. */
export function isWeight(tensor: StoredTensor): tensor is TensorSource {
  return tensor.dtype === "f32" || tensor.dtype === "f16" || tensor.dtype === "bf16";
}
