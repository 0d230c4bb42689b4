/** What must hold before a device is taken, and what is left where it fails: on a device that runs on the CPU. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { threadId } from "node:worker_threads";
import { CodedError } from "@flamboyance/contracts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { folderFiles, type ModelDescription } from "../description.ts";
import { claimDevice, newDeviceClaims } from "./device-claim.ts";
import { writeModelFolder } from "../folder.ts";
import { openOnWebGpu } from "./open-sessions.ts";
import { cpuDevice, type CpuDevice } from "../testing/cpu-device.ts";
import { smallestModel } from "../testing/smallest-model.ts";
import type { Device } from "./webgpu-device.ts";

const atAnySpeed = { faster: false };

describe("opening on a device", () => {
  let parent: string;
  let folder: string;
  let description: ModelDescription;
  beforeAll(async () => {
    parent = await mkdtemp(join(tmpdir(), "flamboyance-sessions-"));
    folder = join(parent, "model");
    description = await writeModelFolder(smallestModel(), folder);
  });
  afterAll(() => rm(parent, { recursive: true }));

  const taken = newDeviceClaims();
  new Int32Array(taken)[0] = threadId + 8;
  it.each([
    ["a precision that has no kernels there", "int8", {}, (): Partial<ModelDescription> => ({ precision: "int8" })],
    ["a folder without the device's graph", folderFiles.deviceVisionGraph, {}, () => ({ files: without(folderFiles.deviceVisionGraph) })],
    ["a device that another thread has", "another thread", { claims: taken }, () => ({})],
  ])("refuses %s before it touches the device", async (_, word, claims, change) => {
    let touched = 0;
    const opening = openOnWebGpu({ folder, description: { ...description, ...change() }, ...claims }, atAnySpeed, () => {
      touched += 1;
      return cpuDevice();
    });
    const refusal: unknown = await opening.then(
      () => null,
      (error: unknown) => error,
    );
    expect(refusal).toMatchObject({ code: "device_unavailable", message: expect.stringContaining(word) });
    expect(refusal).not.toHaveProperty("cause");
    expect(touched).toBe(0);
  });
  const without = (name: string) => Object.fromEntries(Object.entries(description.files).filter(([file]) => file !== name));

  it("says what the runtime said where there is no device, and gives it as the cause", async () => {
    const none: Device = {
      ...cpuDevice(),
      openSession: () => Promise.reject(new CodedError("engine_failed", "no adapter in this house")),
    };
    await expect(openOnWebGpu({ folder, description }, atAnySpeed, () => none)).rejects.toMatchObject({
      code: "device_unavailable",
      message: expect.stringContaining("no adapter in this house"),
      cause: { code: "engine_failed" },
    });
  });

  it("has run both graphs once, whose tensors are gone; closing leaves nothing", async () => {
    const device = cpuDevice();
    const claims = newDeviceClaims();
    const { vision, decoder, memory, clock } = await openOnWebGpu({ folder, description, claims }, atAnySpeed, () => device);
    expect(new Int32Array(claims)[0]).toBe(threadId + 1);
    expect(claimDevice(claims)).toBe(true);
    // The rows of no prefix alone.
    expect(device.figures().tensors).toBe(1);
    const before = clock.runMs;
    await memory.joinMedia([[]]);
    expect(clock.runMs).toBeGreaterThan(before);
    memory.endRun();
    await Promise.all([vision.release(), decoder.release(), memory.release()]);
    expect([device.figures().tensors, device.openSessions()]).toEqual([0, 0]);
  });

  it.each([2, 3, 4, 5])("leaves nothing behind where session %i can't be opened", async (failing) => {
    const device = cpuDevice();
    const opening = openOnWebGpu({ folder, description }, atAnySpeed, () => failingAt(device, failing));
    await expect(opening).rejects.toMatchObject({ code: "engine_failed" });
    expect([device.figures().tensors, device.openSessions()]).toEqual([0, 0]);
  });
});

/** In order: the probe, vision, decoder, the memory's two. */
function failingAt(device: CpuDevice, failing: number): Device {
  let count = 0;
  return {
    ...device,
    openSession: (graph, keeps) =>
      ++count === failing ? Promise.reject(new CodedError("engine_failed", "no room")) : device.openSession(graph, keeps),
  };
}
