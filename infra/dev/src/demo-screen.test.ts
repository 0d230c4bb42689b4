import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { openScreen, pace } from "./demo-screen.ts";

describe("the demo's screen", () => {
  it("tells the rate and the time left", () => {
    expect(pace(0, 200, 5_000)).toBe("waiting for the first");
    expect(pace(50, 200, 10_000)).toBe("5.0/s, 30 s left");
    expect(pace(200, 200, 40_000)).toBe("5.0/s, done");
  });

  it("cuts the widest columns until a table fits", () => {
    const { screen, lines } = plainScreen(20);
    screen.table(
      ["id", "text"],
      [
        ["a", "a very long caption indeed"],
        ["b", "short"],
      ],
    );
    expect(lines().map((line) => line.length <= 20)).toEqual([true, true, true, true]);
    expect(lines()[2]).toBe("a   a very long cap…");
    expect(lines()[3]).toBe("b   short");
  });

  it("prints the end of a bar once where there is no terminal", async () => {
    const { screen, lines } = plainScreen(80);
    const answer = await screen.withBars([{ name: "pictures", total: 2 }], async ([bar]) => {
      for (const done of [1, 2, 2]) bar?.update(done);
      return "drawn";
    });
    expect(answer).toBe("drawn");
    expect(lines()).toHaveLength(1);
    expect(lines()[0]).toMatch(/^ {2}pictures 2\/2 .*done$/);
  });
});

function plainScreen(columns: number) {
  const output = Object.assign(new PassThrough(), { columns, isTTY: false });
  const lines = () =>
    String(output.read() ?? "")
      .split("\n")
      .slice(0, -1);
  let kept: string[] | undefined;
  return { screen: openScreen(output as unknown as NodeJS.WriteStream), lines: () => (kept ??= lines()) };
}
