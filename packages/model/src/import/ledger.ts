/**
 * Accounts for every tensor of a piece: what the architecture needs is taken under its shape, what isn't needed is left out by name, the rest is an error.
 * Owns tensor_missing, tensor_misshapen and tensor_surplus; refuses to guess what an unknown tensor might be for.
 */
import { CodedError } from "@flamboyance/contracts";
import { isWeight, type StoredTensor, type TensorSource } from "./tensor-source.ts";

export interface Ledger {
  has(name: string): boolean;
  /** Names not yet taken or left out. */
  open(): readonly string[];
  /** The shape of a tensor that must be there with so many axes; it still has to be taken. */
  shape<N extends number>(name: string, axes: N): Axes<N>;
  /** Takes a tensor that must be there with this shape, as weights of a known type. */
  take(name: string, shape: readonly number[]): TensorSource;
  /** Leaves out, knowingly, what the pattern matches; says how many that were. */
  leaveOut(pattern: RegExp): number;
  /** The books are closed: whatever is still open is `tensor_surplus`. */
  close(): void;
}

type Axes<N extends number> = N extends 1
  ? [number]
  : N extends 2
    ? [number, number]
    : N extends 4
      ? [number, number, number, number]
      : number[];

export function openLedger(piece: string, tensors: ReadonlyMap<string, StoredTensor>): Ledger {
  const waiting = new Map(tensors);
  const find = (name: string): StoredTensor => {
    const tensor = waiting.get(name);
    if (tensor === undefined) throw new CodedError("tensor_missing", `${piece} lacks the tensor ${name}`, { param: name });
    return tensor;
  };
  return {
    has: (name) => waiting.has(name),
    open: () => [...waiting.keys()],
    shape: <N extends number>(name: string, axes: N) => {
      const { shape } = find(name);
      if (!hasAxes(shape, axes) || shape.includes(0)) throw misshapen(piece, name, shape, `${axes} axes of at least 1`);
      return shape;
    },
    take: (name, shape) => {
      const tensor = find(name);
      if (tensor.shape.length !== shape.length || tensor.shape.some((length, axis) => length !== shape[axis]))
        throw misshapen(piece, name, tensor.shape, written(shape));
      if (!isWeight(tensor))
        throw new CodedError("model_piece_unsupported", `${piece}: ${name} holds ${tensor.dtype} where fp32, fp16 or bf16 is read`, {
          param: name,
        });
      waiting.delete(name);
      return tensor;
    },
    leaveOut: (pattern) => {
      const names = [...waiting.keys()].filter((name) => pattern.test(name));
      for (const name of names) waiting.delete(name);
      return names.length;
    },
    close: () => {
      const [name] = waiting.keys();
      if (name === undefined) return;
      const others = waiting.size === 1 ? "" : ` (and ${waiting.size - 1} more)`;
      throw new CodedError("tensor_surplus", `${piece} holds the tensor ${name}${others}, which nothing uses`, { param: name });
    },
  };
}

function hasAxes<N extends number>(shape: readonly number[], axes: N): shape is Axes<N> {
  return shape.length === axes;
}

function misshapen(piece: string, name: string, shape: readonly number[], needed: string): CodedError {
  return new CodedError("tensor_misshapen", `${piece}: ${name} has the shape ${written(shape)} where ${needed} is needed`, { param: name });
}

function written(shape: readonly number[]): string {
  return `(${shape.join(", ")})`;
}
