/** Reads the safetensors form: eight bytes of length, a JSON header, the tensors' bytes. Owns the header's checks; refuses headers that point outside the file or at each other's bytes. */
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";
import { fileSizeBytes, readRange } from "./piece-file.ts";
import { bytesPerNumber, numberCount, type StoredTensor, type StoredType } from "./tensor-source.ts";

/** Every tensor of the file by name; nothing but the header is read. A broken file is `model_piece_corrupt`, an unknown dtype `model_piece_unsupported`. */
export async function readSafetensors(path: string): Promise<Map<string, StoredTensor>> {
  const sizeBytes = await fileSizeBytes(path);
  if (sizeBytes < prefixBytes) throw corrupt(path, "it has no header");
  const prefix = await readRange(path, 0, prefixBytes);
  const headerBytes = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (headerBytes > headerLimitBytes || prefixBytes + headerBytes > sizeBytes)
    throw corrupt(path, `its header claims ${headerBytes} bytes`);
  const header = parseHeader(path, await readRange(path, prefixBytes, headerBytes));

  const dataOffset = prefixBytes + headerBytes;
  const tensors = new Map<string, StoredTensor>();
  let end = 0;
  for (const [name, entry] of [...header].toSorted(
    ([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1],
  )) {
    const dtype = storedTypes[entry.dtype];
    if (dtype === undefined)
      throw new CodedError("model_piece_unsupported", `${path}: ${name} has the dtype ${entry.dtype}`, { param: name });
    const [begin, stop] = entry.data_offsets;
    if (begin !== end || stop - begin !== numberCount(entry.shape) * bytesPerNumber[dtype])
      throw corrupt(path, `the bytes of ${name} don't fit its shape and place`, name);
    end = stop;
    tensors.set(name, {
      name,
      shape: entry.shape,
      dtype,
      sizeBytes: stop - begin,
      read: () => readRange(path, dataOffset + begin, stop - begin),
      readPart: (offset, length) => readRange(path, dataOffset + begin + offset, length),
    });
  }
  if (dataOffset + end !== sizeBytes) throw corrupt(path, `it has ${sizeBytes} bytes where its header says ${dataOffset + end}`);
  return tensors;
}

const prefixBytes = 8;
/** The format's own limit. */
const headerLimitBytes = 100_000_000;

const count = z.int().nonnegative();
const headerSchema = z.record(z.string(), z.object({ dtype: z.string(), shape: z.array(count), data_offsets: z.tuple([count, count]) }));

const storedTypes: Readonly<Record<string, StoredType>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  F64: "f64",
  I64: "i64",
  I32: "i32",
  I16: "i16",
  I8: "i8",
  U8: "u8",
  BOOL: "bool",
};

function parseHeader(path: string, bytes: Uint8Array): Map<string, z.infer<typeof headerSchema>[string]> {
  try {
    const header: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    const { __metadata__: _, ...entries } = z.record(z.string(), z.unknown()).parse(header);
    return new Map(Object.entries(headerSchema.parse(entries)));
  } catch (cause) {
    throw new CodedError("model_piece_corrupt", `${path} isn't a safetensors file: its header can't be read`, { cause });
  }
}

function corrupt(path: string, reason: string, tensor?: string): CodedError {
  return new CodedError(
    "model_piece_corrupt",
    `${path} isn't a whole safetensors file: ${reason}`,
    tensor === undefined ? {} : { param: tensor },
  );
}
