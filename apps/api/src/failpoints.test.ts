import { afterEach, expect, it, vi } from "vitest";
import { withFailpoints } from "./failpoints.ts";

afterEach(() => vi.unstubAllGlobals());

/** Rooms that write down what was done in them. */
function rooms(done: string[]) {
  const queue = { takeNumber: () => done.push("takeNumber"), batch: () => done.push("batch") };
  const storage = { write: () => done.push("write"), read: () => done.push("read") };
  return { queue, storage } as unknown as Parameters<typeof withFailpoints>[0];
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
  await queue.takeNumber({ id: "batch_1", kind: "cancel" });
  await queue.batch("batch_1");
  await storage.write({ bucket: "b", key: "open/batch_1" }, "", { contentType: "text/plain", signal: new AbortController().signal });
  expect(done).toEqual(["asked takeNumber batch_1", "takeNumber", "batch", "asked write open/batch_1", "write"]);
});
