/** The pickle of a state dict as PyTorch 1.13 and 2.0 write it: protocol 2, an OrderedDict of tensors, each with a storage of its own. Owns these opcodes and no others. */
import { numberCount, type StoredType } from "../import/tensor-source.ts";
import type { LayoutTensor } from "./layout.ts";

/** Tensor i's numbers are the record `data/<i>`. */
export function pickleStateDict(tensors: readonly LayoutTensor[]): Uint8Array {
  const parts: Buffer[] = [];
  const write = (...bytes: (string | number | Buffer)[]): void => {
    for (const part of bytes)
      parts.push(typeof part === "number" ? Buffer.from([part]) : typeof part === "string" ? Buffer.from(part, "latin1") : part);
  };
  const orderedDict = "ccollections\nOrderedDict\n)R";
  write("\x80\x02", orderedDict, "(");
  for (const [index, { name, dtype, shape }] of tensors.entries()) {
    write(text(name), "ctorch._utils\n_rebuild_tensor_v2\n", "(");
    write(
      "(",
      text("storage"),
      `ctorch\n${storageTypes[dtype] ?? ""}\n`,
      text(String(index)),
      text("cpu"),
      integer(numberCount(shape)),
      "tQ",
    );
    write(integer(0), tuple(shape), tuple(rowMajorStrides(shape)), "\x89", orderedDict, "tR");
  }
  // A module's state dict carries the versions of its parts; nothing reads them here.
  write("u", "}", text("_metadata"), orderedDict, "sb", ".");
  return Buffer.concat(parts);
}

const storageTypes: Partial<Record<StoredType, string>> = {
  f32: "FloatStorage",
  f16: "HalfStorage",
  bf16: "BFloat16Storage",
  bool: "BoolStorage",
  i64: "LongStorage",
};

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const head = Buffer.alloc(5);
  head.write("X");
  head.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function integer(value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.write("J");
  bytes.writeInt32LE(value, 1);
  return bytes;
}

function tuple(values: readonly number[]): Buffer {
  return Buffer.concat([Buffer.from("("), ...values.map(integer), Buffer.from("t")]);
}

function rowMajorStrides(shape: readonly number[]): number[] {
  return shape.map((_, axis) => numberCount(shape.slice(axis + 1)));
}
