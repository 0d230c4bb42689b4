/** Whether two tensors hold the same numbers, also where one of them is the other rounded to fewer bits. Owns that comparison; reads both. */
import { widenToFloat32 } from "../float32.ts";
import { bytesPerNumber, isWeight, type StoredTensor, type TensorType } from "./tensor-source.ts";

export async function sameNumbers(a: StoredTensor, b: StoredTensor): Promise<boolean> {
  if (a.shape.length !== b.shape.length || a.shape.some((length, axis) => length !== b.shape[axis])) return false;
  const [ofA, ofB] = [await a.read(), await b.read()];
  if (a.dtype === b.dtype) return Buffer.compare(ofA, ofB) === 0;
  if (!isWeight(a) || !isWeight(b)) return false;
  // Of fp16 and bf16 either may be what was written first: neither holds all numbers of the other.
  return (
    Buffer.compare(rounded(widenToFloat32(ofA, a.dtype), b.dtype), ofB) === 0 ||
    Buffer.compare(rounded(widenToFloat32(ofB, b.dtype), a.dtype), ofA) === 0
  );
}

/** fp32 numbers rounded to nearest even, as PyTorch's `.to()` does. */
function rounded(bytes: Uint8Array, dtype: TensorType): Uint8Array {
  if (dtype === "f32") return bytes;
  const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.byteLength / bytesPerNumber.f32;
  const to = new DataView(new ArrayBuffer(count * bytesPerNumber[dtype]));
  for (let index = 0; index < count; index += 1) {
    if (dtype === "f16") to.setFloat16(index * 2, from.getFloat32(index * 4, true), true);
    else {
      const bits = from.getUint32(index * 4, true);
      to.setUint16(index * 2, (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16, true);
    }
  }
  return new Uint8Array(to.buffer);
}
