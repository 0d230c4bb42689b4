import { batchKeys } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { stepOf } from "./steps.ts";

const keys = batchKeys("batch_1");
const written = (about: string) => stepOf({ point: "write", about });

it("what is written is told by its key", () => {
  const steps = [
    keys.request,
    keys.marker,
    keys.control(1, "u"),
    keys.plan("p").manifest,
    keys.part("p", 0, "a", true),
    keys.frontier(1, 2),
  ];
  expect(steps.map(written)).toEqual(["write request", "write marker", "write control", "write plan", "write part", "write frontier"]);
  const final = keys.final("s");
  const ends = [keys.seal(1, "s"), final.output, final.errors, final.summary, keys.end, keys.after];
  expect(ends.map(written)).toEqual(["write seal", "write output", "write errors", "write summary", "write end", "write after"]);
  expect(stepOf({ point: "writeStream", about: final.output })).toBe("write output");
});

it("a script is told by its name, the marker's removal by its key; anything else is no step", () => {
  expect(stepOf({ point: "adoptPlan", about: "batch_1" })).toBe("adoptPlan");
  expect(stepOf({ point: "remove", about: keys.marker })).toBe("remove marker");
  expect([stepOf({ point: "remove", about: keys.end }), written("clock"), stepOf({ point: "repair", about: "batch_1" })]).toEqual([
    null,
    null,
    null,
  ]);
});
