import { expect, it } from "vitest";
import { Solitude } from "./solitude.ts";

const { signal } = new AbortController();

/** Writes down when it is in. */
function watched(events: string[], name: string, entering: Promise<unknown>): void {
  void entering.then(() => events.push(name));
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

it("lets everybody in side by side", async () => {
  const solitude = new Solitude();
  await solitude.enter(signal);
  await solitude.enter(signal);
});

it("who wants to be alone waits for those inside; nobody enters before it has left", async () => {
  const solitude = new Solitude();
  const [one, other] = [await solitude.enter(signal), await solitude.enter(signal)];
  const events: string[] = [];
  watched(events, "alone", one.alone(signal));
  watched(events, "third", solitude.enter(signal));
  await turn();
  expect(events).toEqual([]);
  other.leave();
  await turn();
  expect(events).toEqual(["alone"]);
  one.leave();
  one.leave();
  await turn();
  expect(events).toEqual(["alone", "third"]);
});

it("two that want to be alone are so one after the other", async () => {
  const solitude = new Solitude();
  const [one, other] = [await solitude.enter(signal), await solitude.enter(signal)];
  const events: string[] = [];
  watched(events, "one", one.alone(signal));
  watched(events, "other", other.alone(signal));
  await turn();
  expect(events).toEqual(["one"]);
  one.leave();
  await turn();
  expect(events).toEqual(["one", "other"]);
});

it("a signal ends the wait, and nobody waits for who gave up", async () => {
  const solitude = new Solitude();
  const [one, other] = [await solitude.enter(signal), await solitude.enter(signal)];
  const given = new AbortController();
  const alone = one.alone(given.signal);
  const late = solitude.enter(signal);
  given.abort(new Error("stopped"));
  await expect(alone).rejects.toThrow("stopped");
  await late;
  one.leave();
  other.leave();
  await expect(solitude.enter(AbortSignal.abort(new Error("too late")))).rejects.toThrow("too late");
});
