/** Waits for a condition of the world outside: looks again and again, and gives up with what it last saw. */
import { setTimeout as sleep } from "node:timers/promises";

/** Resolves with the first value that `holds` accepts. */
export async function until<Value>(
  what: string,
  look: () => Value | Promise<Value>,
  holds: (value: Value) => boolean,
  withinMs = 30_000,
): Promise<Value> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const value = await look();
    if (holds(value)) return value;
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}; last seen: ${JSON.stringify(value)}`);
    await sleep(25);
  }
}
