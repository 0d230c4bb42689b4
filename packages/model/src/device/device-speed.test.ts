import { describe, expect, it } from "vitest";
import { openSession } from "./cpu-session.ts";
import { productMs, slowness, type TimeProducts } from "./device-speed.ts";

/** So many milliseconds at each size of matrix, which are noted. */
function takes(times: Readonly<Record<number, number>>): TimeProducts & { readonly asked: number[] } {
  const asked: number[] = [];
  const time: TimeProducts = (side) => {
    asked.push(side);
    return Promise.resolve(times[side] ?? NaN);
  };
  return Object.assign(time, { asked });
}

describe("a device's speed", () => {
  it("is enough where large products are faster there, though small ones are not", async () => {
    expect(await slowness(takes({ 384: 9, 1024: 5 }), takes({ 384: 1, 1024: 6 }))).toBe(null);
  });

  it("isn't enough where large products are slower there", async () => {
    expect(await slowness(takes({ 384: 1, 1024: 7 }), takes({ 384: 1, 1024: 6 }))).toBe("7.0 ms for products that take the CPU 6.0 ms");
  });

  it("is known after a small product where that is much slower, as it is for a driver in software", async () => {
    const device = takes({ 384: 11, 1024: 0 });
    expect(await slowness(device, takes({ 384: 1, 1024: 6 }))).toBe("11.0 ms for products that take the CPU 1.0 ms");
    expect(device.asked).toEqual([384]);
  });

  it("is measured in a session that is released", async () => {
    let released = 0;
    const ms = await productMs(async (graph) => {
      const session = await openSession(graph, { threads: 1 });
      return { ...session, release: () => session.release().then(() => void released++) };
    }, 16);
    expect(ms).toBeGreaterThan(0);
    expect(ms).toBeLessThan(Infinity);
    expect(released).toBe(1);
  });
});
