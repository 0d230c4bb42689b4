import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import { openByteProgress } from "./byte-progress.ts";

it("writes a line at each tenth where there is no terminal, with rate and time left", () => {
  const err = new PassThrough();
  let nowMs = 0;
  const progress = openByteProgress({ err }, "downloading", () => nowMs);
  for (let done = 0; done <= 1_000; done += 1) {
    nowMs = done * 100;
    progress.show(done * 1e6, 1e9);
  }
  progress.stop();
  const lines = String(err.read()).trimEnd().split("\n");
  expect(lines).toHaveLength(11);
  expect(lines[0]).toBe("downloading: 0 % of 1.0 GB");
  expect(lines[5]).toBe("downloading: 50 % of 1.0 GB  10.0 MB/s, 50 s left");
  expect(lines[10]).toBe("downloading: 100 % of 1.0 GB");
});

it("draws a bar on a terminal", () => {
  const err = Object.assign(new PassThrough(), {
    isTTY: true,
    cursorTo: () => true,
    clearLine: () => true,
    moveCursor: () => true,
    columns: 120,
  });
  let nowMs = 0;
  const progress = openByteProgress({ err }, "writing", () => nowMs);
  progress.show(0, 2e9);
  nowMs = 1_000;
  progress.show(1e9, 2e9);
  progress.stop();
  expect(String(err.read())).toContain("1.0 GB of 2.0 GB  1.0 GB/s, 1 s left");
});
