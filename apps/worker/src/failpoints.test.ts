import { afterEach, expect, it, vi } from "vitest";
import type { Look } from "./decode.ts";
import { withFailpoints } from "./failpoints.ts";

afterEach(() => vi.unstubAllGlobals());

/** Rooms that write down what was done in them. */
function rooms(done: string[]) {
  const queue = { claim: () => done.push("claim"), batch: () => done.push("batch") };
  const storage = { write: () => done.push("write"), read: () => done.push("read") };
  const decoder = { decode: () => done.push("decode"), close: () => Promise.resolve() };
  return { queue, storage, decoder } as unknown as Parameters<typeof withFailpoints>[0];
}

it("nothing is wrapped where nobody asked for it", () => {
  const given = rooms([]);
  expect(withFailpoints(given, null)).toBe(given);
});

it("writing steps are asked for, looks aren't", async () => {
  const done: string[] = [];
  vi.stubGlobal("fetch", (url: URL) => {
    done.push(`asked ${url.searchParams.get("point")} ${url.searchParams.get("about")}`);
    return Promise.resolve(new Response(null));
  });
  const { queue, storage } = withFailpoints(rooms(done), "http://asks/step");
  await queue.claim({ id: "batch_1", chunk: 0, attempt: "a", dispatch: 1, worker: "w" });
  await queue.batch("batch_1");
  await storage.write({ bucket: "b", key: "open/batch_1" }, "", { contentType: "text/plain", signal: new AbortController().signal });
  expect(done).toEqual(["asked claim batch_1", "claim", "batch", "asked write open/batch_1", "write"]);
});

it("an image is decoded once the ask for its hash is answered", async () => {
  const done: string[] = [];
  vi.stubGlobal("fetch", (url: URL) => {
    done.push(`asked ${url.searchParams.get("point")} ${url.searchParams.get("about")?.length}`);
    return Promise.resolve(new Response(null));
  });
  const { decoder } = withFailpoints(rooms(done), "http://asks/step");
  const look: Look = { preprocessing: { imageSize: 1, mean: [0, 0, 0], std: [1, 1, 1] }, frames: null, pixels: "exact" };
  await decoder.decode(new Uint8Array(1), look, new AbortController().signal);
  expect(done).toEqual(["asked decode 64", "decode"]);
});
