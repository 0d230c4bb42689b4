import { threadId } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { claimDevice, endDeviceClaim, newDeviceClaims } from "./device-claim.ts";

describe("the claim of a process's device", () => {
  it("is one thread's, as often as it asks", () => {
    const claims = newDeviceClaims();
    expect([claimDevice(claims), claimDevice(claims)]).toEqual([true, true]);
  });

  it("is refused while another thread has it, and ends with that thread alone", () => {
    const claims = newDeviceClaims();
    new Int32Array(claims)[0] = threadId + 8;
    expect(claimDevice(claims)).toBe(false);
    endDeviceClaim(claims, threadId + 6);
    expect(claimDevice(claims)).toBe(false);
    endDeviceClaim(claims, threadId + 7);
    expect(claimDevice(claims)).toBe(true);
  });
});
