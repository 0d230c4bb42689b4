/**
 * A folder's two graphs, opened on the CPU or on WebGPU with the memory that belongs to it. Owns what a device must be able to do before it is taken;
 * refuses the choice between devices (choose-device.ts) and what the sessions are used for.
 */
import { join } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import { openSession } from "./cpu-session.ts";
import { claimDevice, type DeviceClaims } from "./device-claim.ts";
import { folderFiles, type ModelDescription } from "../description.ts";
import { productGraph, productMs, slowness } from "./device-speed.ts";
import { openDeviceMemory } from "../generate/device-memory.ts";
import { hostMemory } from "../generate/host-memory.ts";
import type { Memory } from "../generate/memory.ts";
import { Pool } from "../generate/pool.ts";
import { createRunner, entryNames } from "../generate/runner.ts";
import { tensorSizes } from "../generate/tensor-sizes.ts";
import { clocked, type RunClock } from "../run-clock.ts";
import type { Session } from "../session.ts";
import { webGpuDevice, type Device, type DeviceFigures } from "./webgpu-device.ts";

export interface ModelSessions {
  readonly vision: Session;
  readonly decoder: Session;
  readonly memory: Memory;
  /** Counts the memory's runs; those of vision and decoder aren't in it. */
  readonly clock: RunClock;
  /** Null on the CPU. */
  readonly figures: (() => DeviceFigures) | null;
}

interface ModelGraphs {
  readonly folder: string;
  readonly description: ModelDescription;
  readonly threads?: number;
  readonly claims?: DeviceClaims;
}

/** Throws CodedError engine_failed. */
export async function openOnCpu({ folder, description, threads }: ModelGraphs): Promise<ModelSessions> {
  const options = threads === undefined ? {} : { threads };
  const vision = await openSession(join(folder, folderFiles.visionGraph), options);
  const decoder = await openSession(join(folder, folderFiles.decoderGraph), options).catch(async (error: unknown) => {
    await vision.release();
    throw error;
  });
  return { vision, decoder, memory: hostMemory(tensorSizes(description.architecture)), clock: { runMs: 0 }, figures: null };
}

/**
 * Both graphs have run once when it answers, so that no row waits for kernels to be compiled. Throws CodedError engine_failed, device_unavailable: before the
 * device is touched (no kernels for the precision, a folder without its graph, another thread's device), then where there is none (the cause is the
 * runtime's fault), and with `faster` where it isn't quicker than the CPU. `connect` is another device for tests.
 */
export async function openOnWebGpu(
  { folder, description, threads, claims }: ModelGraphs,
  { faster }: { readonly faster: boolean },
  connect: () => Device = webGpuDevice,
): Promise<ModelSessions> {
  const { precision, files } = description;
  if (precision !== "fp32") {
    // onnxruntime would run these products on the CPU all the same, and carry every activation there and back.
    throw new CodedError("device_unavailable", `WebGPU has no kernels for the 8-bit products of ${precision} (MatMulIntegerToFloat)`);
  }
  if (files[folderFiles.deviceVisionGraph] === undefined)
    throw new CodedError("device_unavailable", `${folder} has no ${folderFiles.deviceVisionGraph}: it was imported before there was one`);
  if (claims !== undefined && !claimDevice(claims))
    throw new CodedError("device_unavailable", "another thread of this process has used the device, or tried to, and only one may");
  const device = connect();
  const inPassing = (graph: Uint8Array): Promise<Session> => device.openSession(graph, []);
  await inPassing(productGraph(1)).then(
    (session) => session.release(),
    (error: unknown) => {
      const said = error instanceof Error ? error.message : String(error);
      throw new CodedError("device_unavailable", `there is no adapter, or no driver that WebGPU takes: ${said}`, { cause: error });
    },
  );
  if (faster) {
    const onCpu = (graph: Uint8Array): Promise<Session> => openSession(graph, threads === undefined ? {} : { threads });
    const slow = await slowness(
      (side) => productMs(inPassing, side),
      (side) => productMs(onCpu, side),
    );
    if (slow !== null)
      throw new CodedError("device_unavailable", `the WebGPU device isn't faster than the CPU, as a driver in software isn't: ${slow}`);
  }
  const sizes = tensorSizes(description.architecture);
  const entries = entryNames(sizes);
  const clock = { runMs: 0 };
  const opened: (() => Promise<void>)[] = [];
  try {
    const vision = await device.openSession(join(folder, folderFiles.deviceVisionGraph), "all");
    opened.push(() => vision.release());
    const decoder = await device.openSession(join(folder, folderFiles.decoderGraph), [...entries.keys, ...entries.values]);
    opened.push(() => decoder.release());
    const memory = await openDeviceMemory(sizes, async (graph) => clocked(await device.openSession(graph, "all"), clock));
    opened.push(() => memory.release());
    const sessions = { vision, decoder, memory, clock, figures: () => device.figures() };
    await runOnce(sessions, description);
    return sessions;
  } catch (error) {
    await Promise.all(opened.map((release) => release()));
    throw error;
  }
}

/** A black image, a prompt of two tokens and a step. */
async function runOnce({ vision, decoder, memory }: ModelSessions, { architecture, preprocessing }: ModelDescription): Promise<void> {
  const sizes = tensorSizes(architecture);
  const runner = createRunner({ vision, decoder }, memory, sizes, preprocessing.imageSize);
  try {
    const pool = new Pool(memory, 1, 0);
    pool.add(await runner.encode([new Float32Array(3 * preprocessing.imageSize ** 2)]));
    for (const tokens of [[0, 0], [0]]) {
      const rows = [{ tokens, sees: tokens.map(() => 0) }];
      const logits = await runner.forward({ prefix: null, pool, from: 0, to: 1, rowsPerGroup: 1, rows, media: null, logits: "last" });
      if (!logits.every(Number.isFinite)) throw new CodedError("engine_failed", "a first run gave logits that aren't finite");
    }
  } finally {
    memory.keepOnly([]);
  }
}
