import { setImmediate } from "node:timers/promises";
import { CodedError, type ErrorCode } from "@flamboyance/contracts";
import type { Model, ModelDevice } from "@flamboyance/model";
import { expect, it } from "vitest";
import { serveModel, type ToEngine } from "./serve-model.ts";

/** A model whose rows all fail; what becomes of them, of it and of its thread is noted. */
function served(kind: ModelDevice["kind"], code: ErrorCode) {
  const done: string[] = [];
  const closing = Promise.withResolvers<void>();
  let closed = false;
  const model: Partial<Model> = {
    device: { kind, fallback: null },
    generate: ({ id }) => Promise.reject(new CodedError(closed ? "aborted" : code, id)),
    close: () => {
      closed = true;
      done.push("the model closes");
      return closing.promise;
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that these rows use
  const take = serveModel(model as Model, {
    answer: (message) => done.push("code" in message ? `${message.message} ${message.kind}, ${message.code}` : message.kind),
    end: () => done.push("the thread ends"),
  });
  return { done, take, closing };
}

const row = (id: string): ToEngine => ({
  kind: "generate",
  call: 1,
  row: { id, prefix: null, text: "", media: [], generation: { maxNewTokens: 1 } },
});

it("ends the thread after a failed run on a device: once every row is told, and the model is closed", async () => {
  const { done, take, closing } = served("webgpu", "engine_failed");
  take(row("first"));
  take(row("second"));
  await setImmediate();
  take(row("late"));
  await setImmediate();
  expect(done).toEqual(["first failed, engine_failed", "the model closes", "second failed, engine_failed"]);
  closing.resolve();
  await setImmediate();
  expect(done.slice(3)).toEqual(["the thread ends"]);
});

it.each([
  ["cpu", "engine_failed"],
  ["webgpu", "prompt_too_long"],
] as const)("goes on on %s after %s", async (kind, code) => {
  const { done, take } = served(kind, code);
  take(row("first"));
  await setImmediate();
  take(row("next"));
  await setImmediate();
  expect(done).toEqual([`first failed, ${code}`, `next failed, ${code}`]);
});
