/**
 * Where a model computes: what was asked for, or the CPU where `auto` can't have it. Owns that decision and its reason; refuses opening anything itself.
 */
import { CodedError, isCoded } from "@flamboyance/contracts";
import { z } from "zod";
import type { ModelDevice } from "../model.ts";

/** `auto`: the device where there is one that is faster than the CPU and runs the model, else the CPU. */
export const deviceChoiceSchema = z.enum(["cpu", "webgpu", "auto"]);
export type DeviceChoice = z.infer<typeof deviceChoiceSchema>;

export interface Openers<Opened> {
  cpu(): Promise<Opened>;
  /** Rejects with engine_failed or device_unavailable where the model doesn't run there; `faster`: also where the CPU is as quick. */
  webgpu(demands: { readonly faster: boolean }): Promise<Opened>;
}

/** Throws CodedError device_unavailable where `webgpu` was asked for and can't be had, and what the openers throw for other reasons. */
export async function chooseDevice<Opened>(
  choice: DeviceChoice,
  open: Openers<Opened>,
): Promise<{ readonly opened: Opened; readonly device: ModelDevice }> {
  if (choice === "cpu") return { opened: await open.cpu(), device: { kind: "cpu", fallback: null } };
  try {
    return { opened: await open.webgpu({ faster: choice === "auto" }), device: { kind: "webgpu", fallback: null } };
  } catch (error) {
    if (!isCoded(error, "engine_failed", "device_unavailable")) throw error;
    if (choice === "webgpu")
      throw new CodedError("device_unavailable", `the model can't run on WebGPU: ${error.message}`, { cause: error });
    return { opened: await open.cpu(), device: { kind: "cpu", fallback: error.message } };
  }
}
