import sharp from "sharp";
import { beforeAll, expect, it } from "vitest";
import { gifIsCutOff } from "./gif-blocks.ts";

let bytes: Uint8Array;
beforeAll(async () => {
  const stack = Uint8Array.from({ length: 20 * 16 * 3 * 3 }, (_, at) => (at * 7919) % 251);
  const image = sharp(stack, { raw: { width: 20, height: 48, channels: 3, pageHeight: 16 } });
  bytes = await image.gif({ delay: [40, 40, 40] }).toBuffer();
});

it("takes a whole GIF for one, with whatever lies behind it, and without its trailer", () => {
  expect(gifIsCutOff(bytes)).toBe(false);
  expect(gifIsCutOff(Buffer.concat([bytes, Buffer.from("and more")]))).toBe(false);
  expect(bytes.at(-1)).toBe(0x3b);
  expect(gifIsCutOff(bytes.subarray(0, -1))).toBe(false);
});

it("sees wherever else a GIF ends, but between two blocks", () => {
  const unseen = Array.from({ length: bytes.length - 1 }, (_, end) => end).filter((end) => !gifIsCutOff(bytes.subarray(0, end)));
  // Behind the colours, the application's extension, and each frame's extension and picture.
  expect(unseen.length).toBeLessThanOrEqual(8);
  expect(gifIsCutOff(new Uint8Array())).toBe(true);
});
