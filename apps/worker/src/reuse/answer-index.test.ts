import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { expect, it } from "vitest";
import { AnswerIndexFile, findPlaces, segmentBytes, segmentsOf } from "./answer-index.ts";

const { signal } = new AbortController();
const keyOf = (text: string) => createHash("sha256").update(text).digest();
const lineOf = (at: number) => `{"a line":${at}}\n`;

/** An index over so many lines, each of the key of its name, and its objects. */
async function written(lines: number, most: number, name: (at: number) => string = String) {
  const objects = new Map<string, Buffer>();
  const storage: ConstructorParameters<typeof AnswerIndexFile>[0] = {
    writeStream: async ({ key }, pieces) => {
      const bytes = Buffer.concat(await Array.fromAsync(pieces));
      objects.set(key, bytes);
      return { sizeBytes: bytes.length, sha256: "" };
    },
  };
  const file = new AnswerIndexFile(storage, { bucket: "b", keyOf: (segment) => `segment ${segment}` }, signal, most);
  for (let at = 0; at < lines; at++) await file.add(keyOf(name(at)), 100 * at, lineOf(at));
  return { entries: await file.finish(), objects };
}

const reader = (bytes: Buffer) => (offset: number, length: number) => Promise.resolve(bytes.subarray(offset, offset + length));

it("finds each line's place in the segment that has it, and there alone", async () => {
  const { entries, objects } = await written(2_500, 1_000);
  const segments = segmentsOf(entries, 1_000);
  expect({ entries, segments }).toEqual({ entries: 2_500, segments: [1_000, 1_000, 500] });
  expect([...objects.values()].map(({ length }) => length)).toEqual(segments.map(segmentBytes));
  for (let at = 0; at < 2_500; at++) {
    const places = [];
    for (const [segment, count] of segments.entries())
      for (const place of await findPlaces(keyOf(String(at)), count, reader(objects.get(`segment ${segment}`) ?? Buffer.alloc(0))))
        places.push({ segment, ...place });
    const expected = { offsetBytes: 100 * at, lengthBytes: Buffer.byteLength(lineOf(at)), crc32: crc32(lineOf(at)) };
    expect(places).toEqual([{ segment: Math.floor(at / 1_000), ...expected }]);
  }
  for (const other of ["2500", "x", ""])
    expect(await findPlaces(keyOf(other), 1_000, reader(objects.get("segment 0") ?? Buffer.alloc(0)))).toEqual([]);
});

it("is the same bytes for the same lines", async () => {
  expect((await written(1_200, 500)).objects).toEqual((await written(1_200, 500)).objects);
});

it("reads little of a large segment for one look", async () => {
  const { objects } = await written(40_000, 40_000);
  const bytes = objects.get("segment 0") ?? Buffer.alloc(0);
  let read = 0;
  await findPlaces(keyOf("7"), 40_000, (offset, length) => {
    read += length;
    return reader(bytes)(offset, length);
  });
  expect(read).toBeLessThan(4 * 1_024);
});

it("holds the first of lines that answer the same, however many there are", async () => {
  const { entries, objects } = await written(300, 1_000, (at) => String(at % 3));
  expect(entries).toBe(3);
  const places = await findPlaces(keyOf("1"), entries, reader(objects.get("segment 0") ?? Buffer.alloc(0)));
  expect(places).toMatchObject([{ offsetBytes: 100 }]);
});

it("of no lines is no object", async () => {
  expect(await written(0, 10)).toEqual({ entries: 0, objects: new Map() });
  expect(segmentsOf(0)).toEqual([]);
});

it("whose bytes are others' is refused", async () => {
  const wrong = reader(Buffer.alloc(100_000, 255));
  await expect(findPlaces(keyOf("1"), 10, wrong)).rejects.toMatchObject({ code: "internal_error" });
});
