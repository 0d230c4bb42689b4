import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { isCoded } from "@flamboyance/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readRange } from "./piece-file.ts";
import { readZip } from "./zip.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zip-"));
});
afterAll(() => rm(folder, { recursive: true }));

const content = Buffer.from("past four gibibytes");
const name = Buffer.from("archive/data/0");

/** An archive with one record at `offset`; the hole before it takes no room on the disk. Its directory is zip64's throughout. */
async function writeArchive(path: string, offset: number, method = 0): Promise<void> {
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(name.length, 26);
  const extra = Buffer.alloc(28);
  extra.writeUInt16LE(1, 0);
  extra.writeUInt16LE(24, 2);
  extra.writeBigUInt64LE(BigInt(content.length), 4);
  extra.writeBigUInt64LE(BigInt(content.length), 12);
  extra.writeBigUInt64LE(BigInt(offset), 20);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(method, 10);
  entry.writeUInt32LE(crc32(content), 16);
  entry.fill(0xff, 20, 28);
  entry.writeUInt16LE(name.length, 28);
  entry.writeUInt16LE(extra.length, 30);
  entry.fill(0xff, 42, 46);
  const directory = Buffer.concat([entry, name, extra]);
  const directoryOffset = offset + local.length + name.length + content.length;
  const end = Buffer.alloc(56 + 20 + 22);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeBigUInt64LE(1n, 32);
  end.writeBigUInt64LE(BigInt(directory.length), 40);
  end.writeBigUInt64LE(BigInt(directoryOffset), 48);
  end.writeUInt32LE(0x07064b50, 56);
  end.writeBigUInt64LE(BigInt(directoryOffset + directory.length), 64);
  end.writeUInt32LE(0x06054b50, 76);
  end.fill(0xff, 84, 96);
  const file = await open(path, "w");
  await file.write(Buffer.concat([local, name, content, directory, end]), 0, undefined, offset);
  await file.close();
}

test("a record past four gibibytes is found and read without the rest", async () => {
  const path = join(folder, "large.zip");
  await writeArchive(path, 5 * 2 ** 30);
  const records = await readZip(path);
  const record = records.get("archive/data/0");
  expect(record?.sizeBytes).toBe(content.length);
  expect(Buffer.from(await readRange(path, (await record?.locate()) ?? 0, content.length)).toString()).toBe(content.toString());
});

test("a compressed record is refused when it is looked for", async () => {
  const path = join(folder, "compressed.zip");
  await writeArchive(path, 0, 8);
  const record = (await readZip(path)).get("archive/data/0");
  await expect(record?.locate()).rejects.toSatisfy((error) => isCoded(error, "model_piece_unsupported"));
});

test("an archive that lost its begin, so that its directory points past the end, is corrupt", async () => {
  const path = join(folder, "shifted.zip");
  await writeArchive(path, 1_000);
  const bytes = await readRange(path, 900, 100 + 30 + name.length + content.length + 46 + name.length + 28 + 98);
  const shifted = join(folder, "shifted-tail.zip");
  const file = await open(shifted, "w");
  await file.write(bytes);
  await file.close();
  await expect(readZip(shifted)).rejects.toSatisfy((error) => isCoded(error, "model_piece_corrupt"));
});
