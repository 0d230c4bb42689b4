import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { askingAt, withAsks } from "./failpoints.ts";

let done: string[];
beforeEach(() => {
  done = [];
  vi.stubGlobal("fetch", (url: URL) => {
    done.push(`asked ${url.search}`);
    return Promise.resolve(new Response(null));
  });
});
afterEach(() => vi.unstubAllGlobals());

/** A room that writes down what was done in it. */
const room = () => {
  const step = (about: unknown) => Promise.resolve(done.push(`did ${JSON.stringify(about)}`));
  return withAsks({ step, look: step }, ["step"], askingAt("http://asks/here", 7));
};

it.each([
  ["a batch's id", "batch_1", "batch_1"],
  ["a request about a batch", { id: "batch_1", chunk: 2 }, "batch_1"],
  ["an object", { bucket: "b", key: "open/1" }, "open%2F1"],
  [
    "several objects",
    [
      { bucket: "b", key: "first" },
      { bucket: "b", key: "second" },
    ],
    "first",
  ],
  ["something without a name", 3, ""],
])("a step is taken once its ask is answered: with %s", async (_, about, name) => {
  await room().step(about);
  expect(done).toEqual([`asked ?point=step&about=${name}&pid=7`, `did ${JSON.stringify(about)}`]);
});

it("what is no step isn't asked for", async () => {
  await room().look("batch_1");
  expect(done).toEqual(['did "batch_1"']);
});

it("a step is taken all the same where nobody answers", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("nobody")));
  await room().step("batch_1");
  expect(done).toEqual(['did "batch_1"']);
});
