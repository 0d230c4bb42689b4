/** Whether two tensors hold the same numbers, also where one of them is the other rounded to fewer bits. Owns that comparison; reads both. */
import { bytesPerNumber, type StoredTensor, type TensorType } from "./tensor-source.ts";

export async function sameNumbers(a: StoredTensor, b: StoredTensor): Promise<boolean> {
  if (a.shape.length !== b.shape.length || a.shape.some((length, axis) => length !== b.shape[axis])) return false;
  if (a.dtype === b.dtype) return Buffer.compare(await a.read(), await b.read()) === 0;
  const [wide, narrow] = a.dtype === "f32" ? [a, b] : [b, a];
  if (wide.dtype !== "f32" || (narrow.dtype !== "f16" && narrow.dtype !== "bf16")) return false;
  return Buffer.compare(rounded(await wide.read(), narrow.dtype), await narrow.read()) === 0;
}

/** fp32 numbers rounded to nearest even, as PyTorch's `.to()` does. */
function rounded(bytes: Uint8Array, dtype: Exclude<TensorType, "f32">): Uint8Array {
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
