import { expect, it } from "vitest";
import { aloneIn, inRoom, Solitude } from "./solitude.ts";

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

it("who is alone in several rooms waits for one after another, and holds nobody up in the next meanwhile", async () => {
  const rooms = [new Solitude(), new Solitude()] as const;
  const events: string[] = [];
  const [first, second] = [await rooms[0].enter(signal), await rooms[1].enter(signal)];
  const alone = aloneIn(rooms, signal);
  watched(events, "alone", alone);
  watched(events, "beside the second", rooms[1].enter(signal));
  await turn();
  expect(events).toEqual(["beside the second"]);
  first.leave();
  second.leave();
  await turn();
  // Who came beside is still inside.
  watched(events, "behind", rooms[1].enter(signal));
  await turn();
  expect(events).toEqual(["beside the second"]);
});

it("who gives up waiting for several rooms leaves those that it was alone in", async () => {
  const rooms = [new Solitude(), new Solitude()] as const;
  await rooms[1].enter(signal);
  const waiting = new AbortController();
  const alone = aloneIn(rooms, waiting.signal);
  await turn();
  waiting.abort(new Error("given up"));
  await expect(alone).rejects.toThrow("given up");
  await rooms[0].enter(signal);
});

it("work in a room leaves it, however it ends; without a place there is none", async () => {
  const room = new Solitude();
  expect(await inRoom(room, signal, () => Promise.resolve("done"))).toBe("done");
  await expect(inRoom(room, signal, () => Promise.reject(new Error("fails")))).rejects.toThrow("fails");
  const place = await room.enter(signal);
  await place.alone(signal);
  expect(await inRoom(room, AbortSignal.abort(), () => Promise.resolve("done"))).toBe("hand_back");
});
