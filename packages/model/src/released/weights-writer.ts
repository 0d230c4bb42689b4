/**
 * Writes files of weights in the two forms of the released models: safetensors, and PyTorch's zip with a pickle. Numbers may be left out: the file then has holes in their place,
 * takes no room on disk, and reads as zeros. Owns the two forms; checksums of zip records are left zero, which our reader doesn't look at and PyTorch's would.
 */
import { open, type FileHandle } from "node:fs/promises";
import { bytesPerNumber, numberCount } from "../import/tensor-source.ts";
import type { LayoutTensor } from "./layout.ts";
import { pickleStateDict } from "./pickle-writer.ts";

/** A tensor's bytes in parts; null leaves a hole. */
export type Numbers = ((tensor: LayoutTensor) => Iterable<Uint8Array>) | null;

export async function writeSafetensors(path: string, tensors: readonly LayoutTensor[], numbers: Numbers): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  const offsets = tensors.map((tensor) => {
    const begin = end;
    end += sizeBytes(tensor);
    header[tensor.name] = { dtype: tensor.dtype.toUpperCase(), shape: tensor.shape, data_offsets: [begin, end] };
    return begin;
  });
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeSparse(path, async (file) => {
    await file.write(Buffer.concat([length, text]), 0, null, 0);
    for (const [index, tensor] of tensors.entries())
      await writeNumbers(file, length.length + text.length + (offsets[index] ?? 0), tensor, numbers);
    return length.length + text.length + end;
  });
}

/** As `torch.save` writes a module's state dict: records stored plain, each beginning at a multiple of 64. */
export async function writePytorch(path: string, tensors: readonly LayoutTensor[], numbers: Numbers): Promise<void> {
  const records: { name: string; offset: number; sizeBytes: number }[] = [];
  await writeSparse(path, async (file) => {
    let at = 0;
    const begin = async (name: string, bytes: number): Promise<number> => {
      const header = localHeader(`archive/${name}`, bytes, at);
      await file.write(header, 0, null, at);
      records.push({ name: `archive/${name}`, offset: at, sizeBytes: bytes });
      const data = at + header.length;
      at = data + bytes;
      return data;
    };
    const pickle = pickleStateDict(tensors);
    await file.write(pickle, 0, null, await begin("data.pkl", pickle.length));
    for (const [index, tensor] of tensors.entries())
      await writeNumbers(file, await begin(`data/${index}`, sizeBytes(tensor)), tensor, numbers);
    const version = Buffer.from("3\n");
    await file.write(version, 0, null, await begin("version", version.length));
    const directory = centralDirectory(records, at);
    await file.write(directory, 0, null, at);
    return at + directory.length;
  });
}

export function sizeBytes(tensor: LayoutTensor): number {
  return numberCount(tensor.shape) * bytesPerNumber[tensor.dtype];
}

async function writeSparse(path: string, write: (file: FileHandle) => Promise<number>): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.truncate(await write(file));
  } finally {
    await file.close();
  }
}

async function writeNumbers(file: FileHandle, offset: number, tensor: LayoutTensor, numbers: Numbers): Promise<void> {
  if (numbers === null) return;
  let at = offset;
  for (const bytes of numbers(tensor)) {
    await file.write(bytes, 0, null, at);
    at += bytes.length;
  }
}

const most32 = 0xffffffff;

/** The name, then a field of padding, tagged "FB" as PyTorch does. */
function localHeader(name: string, bytes: number, offset: number): Buffer {
  const fixed = Buffer.alloc(30);
  fixed.writeUInt32LE(0x04034b50, 0);
  fixed.writeUInt32LE(Math.min(bytes, most32), 18);
  fixed.writeUInt32LE(Math.min(bytes, most32), 22);
  fixed.writeUInt16LE(name.length, 26);
  const padding = Buffer.alloc(4 + 63 - ((offset + 30 + name.length + 4 + 63) % 64));
  padding.write("FB");
  padding.writeUInt16LE(padding.length - 4, 2);
  fixed.writeUInt16LE(padding.length, 28);
  return Buffer.concat([fixed, Buffer.from(name), padding]);
}

/** With zip64's fields and end records where a size or place is past 32 bits. */
function centralDirectory(records: readonly { name: string; offset: number; sizeBytes: number }[], directoryOffset: number): Buffer {
  const entries = records.map(({ name, offset, sizeBytes: bytes }) => {
    const wide = [...(bytes >= most32 ? [bytes, bytes] : []), ...(offset >= most32 ? [offset] : [])];
    const extra = Buffer.alloc(wide.length === 0 ? 0 : 4 + 8 * wide.length);
    if (wide.length > 0) {
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(8 * wide.length, 2);
      for (const [index, value] of wide.entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * index);
    }
    const fixed = Buffer.alloc(46);
    fixed.writeUInt32LE(0x02014b50, 0);
    fixed.writeUInt32LE(Math.min(bytes, most32), 20);
    fixed.writeUInt32LE(Math.min(bytes, most32), 24);
    fixed.writeUInt16LE(name.length, 28);
    fixed.writeUInt16LE(extra.length, 30);
    fixed.writeUInt32LE(Math.min(offset, most32), 42);
    return Buffer.concat([fixed, Buffer.from(name), extra]);
  });
  const directory = Buffer.concat(entries);
  const zip64End = Buffer.alloc(56 + 20);
  zip64End.writeUInt32LE(0x06064b50, 0);
  zip64End.writeBigUInt64LE(44n, 4);
  zip64End.writeBigUInt64LE(BigInt(records.length), 24);
  zip64End.writeBigUInt64LE(BigInt(records.length), 32);
  zip64End.writeBigUInt64LE(BigInt(directory.length), 40);
  zip64End.writeBigUInt64LE(BigInt(directoryOffset), 48);
  zip64End.writeUInt32LE(0x07064b50, 56);
  zip64End.writeBigUInt64LE(BigInt(directoryOffset + directory.length), 64);
  zip64End.writeUInt32LE(1, 72);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(records.length, 8);
  end.writeUInt16LE(records.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(Math.min(directoryOffset, most32), 16);
  return Buffer.concat([directory, ...(directoryOffset >= most32 ? [zip64End] : []), end]);
}
