/** A PNG of a few coloured bands, told apart by its number: pictures for tests and benchmarks, made without an image library. */
import { crc32, deflateSync } from "node:zlib";

/** RGB, 8 bits, `side` × `side` pixels. Different numbers give different pixels. */
export function plainImage(number: number, side = 32): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 2, 0, 0, 0], 8); // depth, colour type RGB, compression, filter, interlace
  const rows = Array.from({ length: side }, (_, y) => {
    const row = Buffer.alloc(1 + side * 3);
    for (let x = 0; x < side; x++) {
      // Bands of eight pixels carry eight bits each of the number.
      const band = (number >>> (8 * (Math.floor((4 * y) / side) % 4))) & 0xff;
      row.set([band, (band * 7 + x) & 0xff, (number + y) & 0xff], 1 + x * 3);
    }
    return row;
  });
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, block("IHDR", header), block("IDAT", deflateSync(Buffer.concat(rows))), block("IEND", Buffer.alloc(0))]);
}

function block(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name, "ascii"), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}
