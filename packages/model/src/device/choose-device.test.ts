import { CodedError, type ErrorCode } from "@flamboyance/contracts";
import { describe, expect, it } from "vitest";
import { chooseDevice, type Openers } from "./choose-device.ts";

/** A device that opens, or fails with a code. */
function openers(failure: ErrorCode | null): Openers<string> & { readonly asked: { faster: boolean }[] } {
  const asked: { faster: boolean }[] = [];
  return {
    asked,
    cpu: () => Promise.resolve("on the CPU"),
    webgpu: (demands) => {
      asked.push(demands);
      return failure === null ? Promise.resolve("on WebGPU") : Promise.reject(new CodedError(failure, "no adapter"));
    },
  };
}

describe("the choice of a device", () => {
  it("leaves the device alone where the CPU is asked for", async () => {
    const open = openers(null);
    expect(await chooseDevice("cpu", open)).toEqual({ opened: "on the CPU", device: { kind: "cpu", fallback: null } });
    expect(open.asked).toEqual([]);
  });

  it("takes the device that is asked for however slow it is, and one that auto finds only where it is faster", async () => {
    const open = openers(null);
    for (const choice of ["webgpu", "auto"] as const)
      expect(await chooseDevice(choice, open)).toEqual({ opened: "on WebGPU", device: { kind: "webgpu", fallback: null } });
    expect(open.asked).toEqual([{ faster: false }, { faster: true }]);
  });

  it.each(["engine_failed", "device_unavailable"] as const)("falls back to the CPU after %s, and says why", async (code) => {
    expect(await chooseDevice("auto", openers(code))).toEqual({ opened: "on the CPU", device: { kind: "cpu", fallback: "no adapter" } });
    await expect(chooseDevice("webgpu", openers(code))).rejects.toMatchObject({ code: "device_unavailable" });
  });

  it("hides no fault that isn't the device's", async () => {
    await expect(chooseDevice("auto", openers("model_folder_invalid"))).rejects.toMatchObject({ code: "model_folder_invalid" });
  });
});
