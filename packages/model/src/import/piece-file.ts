/** A piece's files: bytes by offset, so that a file of any size is read a tensor at a time. Owns the errors of a missing or cut-off file; keeps no file open between reads. */
import { open, stat } from "node:fs/promises";
import { CodedError } from "@flamboyance/contracts";

/** One read call takes at most 2³¹ − 1 bytes. */
const readLimitBytes = 2 ** 30;

/** The `length` bytes from `offset`; a file that ends before is `model_piece_corrupt`, one that isn't there `model_piece_missing`. */
export async function readRange(path: string, offset: number, length: number): Promise<Uint8Array> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw missingFile(path, cause);
  });
  try {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const { bytesRead } = await file.read(bytes, done, Math.min(length - done, readLimitBytes), offset + done);
      if (bytesRead === 0) throw new CodedError("model_piece_corrupt", `${path} ends at byte ${offset + done}, before its content does`);
      done += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

export async function fileSizeBytes(path: string): Promise<number> {
  const entry = await stat(path).catch((cause: unknown) => {
    throw missingFile(path, cause);
  });
  if (!entry.isFile()) throw new CodedError("model_piece_missing", `${path} isn't a file`);
  return entry.size;
}

/** The whole of a small text file. */
export async function readText(path: string): Promise<string> {
  return Buffer.from(await readRange(path, 0, await fileSizeBytes(path))).toString("utf8");
}

/** A piece's JSON, not yet checked against a schema. */
export async function readJson(path: string): Promise<unknown> {
  const text = await readText(path);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CodedError("model_piece_corrupt", `${path} isn't JSON`, { cause });
  }
}

export async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function missingFile(path: string, cause: unknown): CodedError {
  return new CodedError("model_piece_missing", `${path} can't be opened`, { cause });
}
