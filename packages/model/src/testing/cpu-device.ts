/**
 * A device whose sessions run on the CPU: what they keep is a handle, as on a real one, and counts until it is disposed. For the laws of a device that
 * need no driver.
 */
import { openSession } from "../device/cpu-session.ts";
import type { DeviceTensor, InputTensor, KeptTensor, OutputTensor, Session } from "../session.ts";
import type { Device } from "../device/webgpu-device.ts";

export interface CpuDevice extends Device {
  readonly hold: (tensor: OutputTensor) => DeviceTensor;
  /** Throws where the handle is disposed. */
  readonly read: (tensor: KeptTensor) => OutputTensor;
  readonly isHeld: (tensor: KeptTensor) => boolean;
  /** How many aren't released. */
  openSessions(): number;
}

export function cpuDevice(): CpuDevice {
  const held = new Map<KeptTensor, OutputTensor>();
  const sessions = new Set<Session>();

  const hold = (tensor: OutputTensor): DeviceTensor => {
    const handle: DeviceTensor = { type: "device", shape: tensor.shape, dispose: () => void held.delete(handle) };
    held.set(handle, tensor);
    return handle;
  };

  const read = (tensor: KeptTensor): OutputTensor => {
    const found = tensor.type === "device" ? held.get(tensor) : tensor;
    if (found === undefined) throw new Error("the tensor is disposed, or another device's");
    return found;
  };

  const open: Device["openSession"] = async (graph) => {
    const session = await openSession(graph, { threads: 1 });
    sessions.add(session);
    return {
      inputNames: session.inputNames,
      run: async <Name extends string, Kept extends string = never>(
        inputs: Readonly<Record<string, InputTensor>>,
        outputs: readonly Name[],
        kept: readonly Kept[] = [],
      ) => {
        const feeds = Object.fromEntries(
          Object.entries(inputs).map(([name, input]) => [name, input.type === "device" ? read(input) : input]),
        );
        const results: Record<string, OutputTensor> = await session.run(feeds, [...outputs, ...kept]);
        const handles = kept.map((name) => [name, hold(results[name] ?? missing(name))] as const);
        // Every name is among these.
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion
        return { ...results, ...Object.fromEntries(handles) } as Record<Name, OutputTensor> & Record<Kept, KeptTensor>;
      },
      release: () => {
        sessions.delete(session);
        return session.release();
      },
    };
  };

  return {
    openSession: open,
    figures: () => ({ tensors: held.size, bytesToHost: 0, bytesToDevice: 0 }),
    hold,
    read,
    isHeld: (tensor) => held.has(tensor),
    openSessions: () => sessions.size,
  };
}

function missing(name: string): never {
  throw new Error(`the run gave no ${name}`);
}
