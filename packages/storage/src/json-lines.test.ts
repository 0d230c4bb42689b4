import { describe, expect, it } from "vitest";
import { readLines, type Line } from "./json-lines.ts";

async function* cut(bytes: Buffer, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += sizeBytes) yield new Uint8Array(bytes.subarray(start, start + sizeBytes));
}

/** The lines of a text, read in pieces of every size: however the bytes are cut, the lines are the same. */
async function linesOf(text: string | Buffer, maxLineBytes = 100): Promise<Line[]> {
  const bytes = Buffer.from(text);
  const whole = await Array.fromAsync(readLines(cut(bytes, bytes.length || 1), { maxLineBytes }));
  for (const sizeBytes of [1, 2, 3, 7]) {
    expect(await Array.fromAsync(readLines(cut(bytes, sizeBytes), { maxLineBytes }))).toEqual(whole);
  }
  return whole;
}

const texts = (lines: readonly Line[]) => lines.map((line) => (line.kind === "line" ? line.text : line.kind));

describe("readLines", () => {
  it("gives each line with its number and place", async () => {
    const text = "one\n\nthré\nfour";
    const lines = await linesOf(text);
    expect(lines).toEqual([
      { kind: "line", text: "one", number: 1, offsetBytes: 0, sizeBytes: 3 },
      { kind: "line", text: "", number: 2, offsetBytes: 4, sizeBytes: 0 },
      { kind: "line", text: "thré", number: 3, offsetBytes: 5, sizeBytes: 5 },
      { kind: "line", text: "four", number: 4, offsetBytes: 11, sizeBytes: 4 },
    ]);
    for (const line of lines) {
      const slice = Buffer.from(text).subarray(line.offsetBytes, line.offsetBytes + line.sizeBytes);
      expect(slice.toString()).toBe(line.kind === "line" ? line.text : "");
    }
  });

  it("makes no line of a last end, and none of nothing", async () => {
    expect(texts(await linesOf("a\nb\n"))).toEqual(["a", "b"]);
    expect(texts(await linesOf("a\n\n"))).toEqual(["a", ""]);
    expect(await linesOf("")).toEqual([]);
    expect(texts(await linesOf("\n"))).toEqual([""]);
  });

  it("takes Windows' ends, and a return within a line as it is", async () => {
    const lines = await linesOf("a\r\nb\rc\r\n\r\nd\r");
    expect(texts(lines)).toEqual(["a", "b\rc", "", "d"]);
    expect(lines.map(({ offsetBytes }) => offsetBytes)).toEqual([0, 3, 8, 10]);
  });

  it("leaves out a byte order mark, but not its place", async () => {
    const lines = await linesOf("\uFEFF{}\n\uFEFFx");
    expect(lines).toEqual([
      { kind: "line", text: "{}", number: 1, offsetBytes: 3, sizeBytes: 2 },
      { kind: "line", text: "\uFEFFx", number: 2, offsetBytes: 6, sizeBytes: 4 },
    ]);
    expect(texts(await linesOf("\uFEFF"))).toEqual([]);
    expect(texts(await linesOf(Buffer.from([0xef, 0xbb])))).toEqual(["notUtf8"]);
  });

  it("tells what isn't UTF-8, and goes on", async () => {
    const bytes = Buffer.concat([
      Buffer.from("good\n"),
      Buffer.from([0xc3, 0x28, 0x0a]),
      Buffer.from([0xed, 0xa0, 0x80, 0x0a]),
      Buffer.from("good"),
    ]);
    expect(texts(await linesOf(bytes))).toEqual(["good", "notUtf8", "notUtf8", "good"]);
  });

  it("tells what is too long, with its length, and goes on", async () => {
    const lines = await linesOf(`${"x".repeat(10)}\n${"y".repeat(11)}\n${"z".repeat(1000)}\nshort\n${"w".repeat(12)}`, 10);
    expect(lines).toEqual([
      { kind: "line", text: "x".repeat(10), number: 1, offsetBytes: 0, sizeBytes: 10 },
      { kind: "tooLong", number: 2, offsetBytes: 11, sizeBytes: 11 },
      { kind: "tooLong", number: 3, offsetBytes: 23, sizeBytes: 1000 },
      { kind: "line", text: "short", number: 4, offsetBytes: 1024, sizeBytes: 5 },
      { kind: "tooLong", number: 5, offsetBytes: 1030, sizeBytes: 12 },
    ]);
    expect(texts(await linesOf(`${"x".repeat(10)}\r\n`, 10))).toEqual(["x".repeat(10)]);
  });

  it("holds no more than a line of an endless one", async () => {
    const piece = Buffer.alloc(1_000_000, "x");
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 400; index++) yield piece;
      yield Buffer.from("\nlast");
    }
    const before = process.memoryUsage().rss;
    const lines = await Array.fromAsync(readLines(endless(), { maxLineBytes: 100 }));
    expect(lines.map(({ kind, sizeBytes }) => [kind, sizeBytes])).toEqual([
      ["tooLong", 400_000_000],
      ["line", 4],
    ]);
    expect(process.memoryUsage().rss - before).toBeLessThan(200_000_000);
  });

  it("ends its source when its reader has enough", async () => {
    let ended = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.from("line\n");
      } finally {
        ended = true;
      }
    }
    for await (const line of readLines(source(), { maxLineBytes: 10 })) if (line.number === 3) break;
    expect(ended).toBe(true);
  });

  it("passes on what its source throws", async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("whole\nhal");
      throw new Error("broken");
    }
    const seen: Line[] = [];
    const reading = (async () => {
      for await (const line of readLines(failing(), { maxLineBytes: 10 })) seen.push(line);
    })();
    await expect(reading).rejects.toThrow("broken");
    expect(texts(seen)).toEqual(["whole"]);
  });
});
