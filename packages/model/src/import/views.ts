/** Parts of a tensor as tensors of their own: rows of a fused projection, a transposed matrix. Owns the arithmetic of bytes; reads its parent only when it is read itself. */
import { bytesPerNumber, numberCount, type TensorSource } from "./tensor-source.ts";

/** `count` rows (of the first axis) from row `begin`; no others are read where the parent can be read in parts. */
export function rows(parent: TensorSource, begin: number, count: number): TensorSource {
  const picked = pickedRows(parent, `[${begin}:${begin + count}]`, count, (row) => begin + row);
  const rowBytes = picked.sizeBytes / count;
  const { readPart } = parent;
  return readPart === undefined ? picked : { ...picked, read: () => readPart(begin * rowBytes, count * rowBytes) };
}

/**
 * One of `parts` equal parts of a projection that is fused *per head*: rows (heads, parts, headWidth), as GPT-NeoX's query_key_value.
 * Answers rows (heads, headWidth) of the part.
 */
export function interleavedRows(parent: TensorSource, heads: number, parts: number, part: number): TensorSource {
  const rowCount = parent.shape[0] ?? 0;
  const headWidth = rowCount / heads / parts;
  return pickedRows(
    parent,
    `[part ${part} of ${parts} in each head]`,
    rowCount / parts,
    (row) => (Math.floor(row / headWidth) * parts + part) * headWidth + (row % headWidth),
  );
}

/** (a, b) as (b, a). */
export function transposed(parent: TensorSource): TensorSource {
  const [height = 0, width = 0] = parent.shape;
  const numberBytes = bytesPerNumber[parent.dtype];
  return {
    name: parent.name,
    shape: [width, height],
    dtype: parent.dtype,
    sizeBytes: parent.sizeBytes,
    read: async () => {
      const bytes = await parent.read();
      const turned = new Uint8Array(bytes.length);
      for (let row = 0; row < height; row += 1)
        for (let column = 0; column < width; column += 1) {
          const from = (row * width + column) * numberBytes;
          const to = (column * height + row) * numberBytes;
          for (let byte = 0; byte < numberBytes; byte += 1) turned[to + byte] = bytes[from + byte] ?? 0;
        }
      return turned;
    },
  };
}

function pickedRows(parent: TensorSource, label: string, count: number, rowOf: (row: number) => number): TensorSource {
  const rowShape = parent.shape.slice(1);
  const rowBytes = numberCount(rowShape) * bytesPerNumber[parent.dtype];
  return {
    name: `${parent.name}${label}`,
    shape: [count, ...rowShape],
    dtype: parent.dtype,
    sizeBytes: count * rowBytes,
    read: async () => {
      const bytes = await parent.read();
      const picked = new Uint8Array(count * rowBytes);
      for (let row = 0; row < count; row += 1)
        picked.set(bytes.subarray(rowOf(row) * rowBytes, (rowOf(row) + 1) * rowBytes), row * rowBytes);
      return picked;
    },
  };
}
