/**
 * Loaded into each process before anything else (`--import`): its wall clock, as JavaScript sees it, is off by what its file says; told to look by SIGUSR2.
 * Monotonic clocks and timers go on undisturbed, as they do where a machine's clock is set.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";

let offsetMs = 0;
const RealDate = Date;
const now = (): number => RealDate.now() + offsetMs;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, given: unknown[], newTarget): object => Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget),
  get: (target, name): unknown => (name === "now" ? now : Reflect.get(target, name)),
});

const folder = process.env["CHAOS_CLOCKS"];
if (isMainThread && folder !== undefined) {
  process.on("SIGUSR2", () => {
    offsetMs = Number(readFileSync(join(folder, String(process.pid)), "utf8"));
  });
}
