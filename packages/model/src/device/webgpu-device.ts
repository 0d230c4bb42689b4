/**
 * Sessions on onnxruntime-node's WebGPU, whose tensors can stay in the device's memory. Owns every handle to that memory, the runtime beside
 * cpu-session.ts, and the count of what crosses to and from the host. Refuses to choose a device.
 */
import { CodedError } from "@flamboyance/contracts";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { asEngineFailure, type DeviceTensor, type InputTensor, type KeptTensor, type OutputTensor, type Session } from "../session.ts";

export interface DeviceFigures {
  /** Tensors that lie on the device by a handle, not yet disposed. */
  readonly tensors: number;
  readonly bytesToHost: number;
  readonly bytesToDevice: number;
}

export interface Device {
  /**
   * Opens a graph, as a file or as bytes. Its outputs `keeps` stay on the device, the others come to the host; a session that keeps all must be asked
   * for the same ones at every run. Rejects with engine_failed.
   */
  openSession(graph: string | Uint8Array, keeps: Keeps): Promise<Session>;
  figures(): DeviceFigures;
}

export type Keeps = "all" | readonly string[];

const errorsOnly = 3;

/** The device that the system offers first. Whether there is one shows when a session is opened. Only one thread of a process may use it (device-claim.ts). */
export function webGpuDevice(): Device {
  const held = new Map<DeviceTensor, Tensor>();
  const bytes = { toHost: 0, toDevice: 0 };

  const hold = (tensor: Tensor): DeviceTensor => {
    const handle: DeviceTensor = {
      type: "device",
      shape: tensor.dims,
      dispose: () => {
        if (held.delete(handle)) tensor.dispose();
      },
    };
    held.set(handle, tensor);
    return handle;
  };

  const feed = (name: string, input: InputTensor): Tensor => {
    if (input.type !== "device") {
      bytes.toDevice += input.data.byteLength;
      return new Tensor(input.type, input.data, input.shape);
    }
    const tensor = held.get(input);
    if (tensor === undefined) throw new CodedError("engine_failed", `the input ${name} is disposed, or lies on another device`);
    return tensor;
  };

  const openSession = async (graph: string | Uint8Array, keeps: Keeps): Promise<Session> => {
    const options: InferenceSession.SessionOptions = {
      executionProviders: ["webgpu"],
      graphOptimizationLevel: "all",
      logSeverityLevel: errorsOnly,
      preferredOutputLocation: keeps === "all" ? "gpu-buffer" : Object.fromEntries(keeps.map((name) => [name, "gpu-buffer" as const])),
    };
    const session = await asEngineFailure(`can't open ${typeof graph === "string" ? graph : "a graph"} on WebGPU`, () =>
      typeof graph === "string" ? InferenceSession.create(graph, options) : InferenceSession.create(graph, options),
    );
    return {
      inputNames: session.inputNames,
      run: async <Name extends string, Kept extends string = never>(
        inputs: Readonly<Record<string, InputTensor>>,
        outputs: readonly Name[],
        kept: readonly Kept[] = [],
      ) => {
        const feeds = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, feed(name, input)]));
        // The binding takes the places of the outputs that it is asked for as those of the graph's, so all are asked for, in the graph's order.
        const asked = keeps === "all" ? [...kept] : session.outputNames;
        const results = await asEngineFailure("a run failed on WebGPU", () => session.run(feeds, asked));
        try {
          const staying = kept.map((name) => [name, onDevice(name, results[name])] as const);
          const read = outputs.map((name) => [name, onHost(name, results[name])] as const);
          for (const [, { data }] of read) bytes.toHost += data.byteLength;
          const handles = staying.map(([name, tensor]) => [name, hold(tensor)] as const);
          // Every name is among these.
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion
          return Object.fromEntries<KeptTensor>([...read, ...handles]) as Record<Name, OutputTensor> & Record<Kept, KeptTensor>;
        } catch (error) {
          // Nobody was given any of them.
          for (const tensor of Object.values(results)) if (isOnDevice(tensor)) tensor.dispose();
          throw error;
        }
      },
      release: () => session.release(),
    };
  };
  return { openSession, figures: () => ({ tensors: held.size, bytesToHost: bytes.toHost, bytesToDevice: bytes.toDevice }) };
}

type Result = InferenceSession.OnnxValueMapType[string] | undefined;

/** Asking a tensor on the device for its data would end the process, so that its place is looked at first. */
function isOnDevice(tensor: Result): tensor is Tensor {
  return tensor instanceof Tensor && tensor.location === "gpu-buffer";
}

function onDevice(name: string, tensor: Result): Tensor {
  if (!isOnDevice(tensor)) throw new CodedError("engine_failed", `the output ${name} isn't on the device`);
  return tensor;
}

function onHost(name: string, tensor: Result): OutputTensor {
  if (!(tensor instanceof Tensor) || tensor.location !== "cpu" || !(tensor.data instanceof Float32Array))
    throw new CodedError("engine_failed", `the output ${name} isn't float32 on the host`);
  return { type: "float32", data: tensor.data, shape: tensor.dims };
}
