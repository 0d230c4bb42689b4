import { BroadcastChannel } from "node:worker_threads";
import { afterEach, expect, it } from "vitest";
import { openDecoder, type Decoder } from "./decode.ts";

const thread = new URL("./testing/fake-decode-thread.ts", import.meta.url);
const signal = new AbortController().signal;
const look = { preprocessing: { imageSize: 1, mean: [0, 0, 0], std: [1, 1, 1] }, frames: null, pixels: "exact" } satisfies Parameters<
  Decoder["decode"]
>[1];

const opened: Decoder[] = [];
function open(threads: number, maxBytes?: number) {
  const decoder = openDecoder({ threads, thread, ...(maxBytes === undefined ? {} : { maxBytes }) });
  opened.push(decoder);
  return (text: string, given: AbortSignal = signal) => decoder.decode(Buffer.from(text), look, given);
}
afterEach(async () => {
  for (const decoder of opened.splice(0)) await decoder.close();
});

it("gives each image its own pixels, however many threads there are", async () => {
  const decode = open(2);
  const letters = ["a", "b", "c", "d", "e", "f", "g"];
  const pixels = await Promise.all(letters.map((letter) => decode(letter)));
  expect(pixels.map(([first]) => String.fromCharCode(first?.[0] ?? 0))).toEqual(letters);
});

it("says what is wrong with an image, and goes on", async () => {
  const decode = open(1);
  const [bad, good] = await Promise.allSettled([decode("?"), decode("a")]);
  expect(bad).toMatchObject({ status: "rejected", reason: { code: "image_unreadable" } });
  expect(good.status).toBe("fulfilled");
});

it("fails what a dying thread worked on, and nothing else", async () => {
  const decode = open(1);
  const [dying, waiting] = await Promise.allSettled([decode("x"), decode("a")]);
  expect(dying).toMatchObject({ status: "rejected", reason: { code: "engine_failed" } });
  expect(waiting.status).toBe("fulfilled");
  await decode("b");
});

it("gives up with the signal's reason, also what still waits", async () => {
  const decode = open(1);
  const gaveUp = new AbortController();
  const held = decode("h", gaveUp.signal);
  const waiting = decode("a", gaveUp.signal);
  gaveUp.abort(new Error("gave up"));
  await expect(held).rejects.toThrow("gave up");
  await expect(waiting).rejects.toThrow("gave up");
});

it("decodes large images together only as far as they fit, one that is too large alone", async () => {
  const channel = new BroadcastChannel("decoding");
  const heard: string[] = [];
  channel.addEventListener("message", (event) => event instanceof MessageEvent && heard.push(String(event.data)));
  // Threads may be slow to start.
  const hears = (...words: string[]) => expect.poll(() => heard, { timeout: 9_000 }).toEqual(expect.arrayContaining(words));
  /** Time enough for whoever would be let in: a word there and back, twice. */
  const settle = async (name: string) => {
    for (let time = 1; time <= 2; time++) {
      channel.postMessage(`ping ${name}`);
      await expect.poll(() => heard.filter((word) => word === `pong ${name}`), { timeout: 9_000 }).toHaveLength(time);
    }
  };
  const decode = open(3, 5);
  const large = decode("w9");
  await hears("in 9");
  const others = [decode("w3"), decode("w4")];
  await hears("asks 3", "asks 4");
  for (const name of ["3", "4"]) await settle(name);
  expect(heard.filter((word) => word.startsWith("in"))).toEqual(["in 9"]);
  channel.postMessage("out 9");
  await large;
  // 3, and 4 as well: there is still room when it comes.
  await hears("in 3", "in 4");
  const last = decode("w1");
  await hears("asks 1");
  await settle("1");
  expect(heard).not.toContain("in 1");
  for (const name of ["3", "4"]) channel.postMessage(`out ${name}`);
  await Promise.all(others);
  await hears("in 1");
  channel.postMessage("out 1");
  expect((await last)[0]?.[0]).toBe("1".charCodeAt(0));
  channel.close();
});
