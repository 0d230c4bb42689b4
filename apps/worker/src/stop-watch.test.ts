import type { StopReason } from "@flamboyance/queue";
import { expect, it } from "vitest";
import { stopKind } from "./job-stop.ts";
import { startStopWatch } from "./stop-watch.ts";

/** A watch over batches whose reasons to stop are in the test's hands; what was asked for is noted. */
function watch(reasons: Record<string, StopReason>) {
  const asked: (readonly string[])[] = [];
  const stops = startStopWatch({
    stopping: (ids) => {
      asked.push(ids);
      return Promise.resolve(new Map(Object.entries(reasons).filter(([id]) => ids.includes(id))));
    },
  });
  return { stops, asked };
}

it("fires each job's signal with what became of its batch, and no other's", async () => {
  const { stops } = watch({ a: "cancelling", b: "expiring", c: "sealed", d: "gone" });
  const signals = ["a", "b", "c", "d", "e"].map((id) => stops.watch(id).signal);
  await stops.look();
  expect(signals.map((signal) => stopKind(signal))).toEqual(["cancelled", "expired", "ended", "ended", null]);
});

it("asks once for a batch that several jobs watch, and not at all where none does", async () => {
  const { stops, asked } = watch({ a: "cancelling" });
  await stops.look();
  const [one, two] = [stops.watch("a"), stops.watch("a")];
  await stops.look();
  expect(asked).toEqual([["a"]]);
  expect([one.signal.aborted, two.signal.aborted]).toEqual([true, true]);
  for (const job of [one, two]) job.done();
  await stops.look();
  expect(asked).toHaveLength(1);
});
