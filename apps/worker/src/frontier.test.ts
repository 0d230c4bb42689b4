import { frontier as frontierSchema, type Frontier, type PartChoice } from "@flamboyance/contracts";
import type { BatchRecord, Queue, UnconfirmedPart } from "@flamboyance/queue";
import type { Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { advanceFrontier, trackFrontiers } from "./frontier.ts";

const signal = new AbortController().signal;
const tally = { completed: 1, failed: 0, input_tokens: 0, cached_tokens: 0, output_tokens: 0, stored_bytes: 0 };
const choice = (chunk: number): PartChoice => ({ attempt: `attempt${chunk}`, cut: false });

/** A batch with these confirmed chunks, and these parts that aren't; the frontier objects in S3 and what was confirmed are noted. */
function batch({ confirmed, parts, leased = false }: { confirmed: number; parts: number[]; leased?: boolean }) {
  const state = { confirmed, fails: false };
  const written: Frontier[] = [];
  const steps: string[] = [];
  const queue: Partial<Queue> = {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that the frontier looks at
    batch: () =>
      Promise.resolve({
        epoch: 7,
        plan: "p",
        settled: false,
        confirmed: state.confirmed,
        frontier: confirmed + parts.length,
      } as BatchRecord),
    lease: (name) =>
      Promise.resolve(
        leased ? null : { name, renew: () => Promise.resolve(true), release: () => Promise.resolve(void steps.push("let go")) },
      ),
    unconfirmedParts: () => Promise.resolve(parts.map((chunk): UnconfirmedPart => ({ chunk, part: choice(chunk), tally }))),
    confirmFrontier: ({ chunks }) => {
      steps.push(`confirmed ${chunks}`);
      state.confirmed = chunks;
      return Promise.resolve(true);
    },
  };
  const storage: Partial<Storage> = {
    write: ({ key }, text) => {
      if (state.fails) return Promise.reject(new Error("S3 is away"));
      written.push(frontierSchema.parse(JSON.parse(String(text))));
      steps.push(`wrote ${key.split("/").at(-1)}`);
      return Promise.resolve({ etag: "" });
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that the frontier uses
  return { state, written, steps, dependencies: { queue: queue as Queue, storage: storage as Storage, serviceBucket: "service" } };
}

it("names the parts up to the first gap in S3, and confirms them only then", async () => {
  const { written, steps, dependencies } = batch({ confirmed: 2, parts: [3, 2, 5] });
  expect(await advanceFrontier(dependencies, "batch_1", signal)).toBe(true);
  expect(written).toEqual([{ epoch: 7, plan: "p", from: 2, chunks: 4, parts: [2, 3].map((chunk) => ({ ...choice(chunk), tally })) }]);
  expect(steps).toEqual(["wrote 0000000007-0000000004.json", "confirmed 4", "let go"]);
});

it("writes nothing where there is nothing new, or only what is behind a gap", async () => {
  for (const parts of [[], [4]]) {
    const { written, dependencies } = batch({ confirmed: 2, parts });
    expect(await advanceFrontier(dependencies, "batch_1", signal)).toBe(true);
    expect(written).toEqual([]);
  }
});

it("leaves a batch to the worker that is at it, and comes back", async () => {
  const { written, dependencies } = batch({ confirmed: 0, parts: [0], leased: true });
  const frontiers = trackFrontiers(dependencies);
  frontiers.touched("batch_1");
  await frontiers.advance(signal);
  expect(written).toEqual([]);
  expect(await advanceFrontier(dependencies, "batch_1", signal)).toBe(false);
});

it("looks again at a batch whose frontier couldn't be written, and not at one that was", async () => {
  const { state, written, steps, dependencies } = batch({ confirmed: 0, parts: [0] });
  const frontiers = trackFrontiers(dependencies);
  frontiers.touched("batch_1");
  state.fails = true;
  await expect(frontiers.advance(signal)).rejects.toThrow("S3 is away");
  // What was taken is let go, also by a failure.
  expect(steps).toEqual(["let go"]);
  state.fails = false;
  await frontiers.advance(signal);
  await frontiers.advance(signal);
  expect(written).toHaveLength(1);
});
