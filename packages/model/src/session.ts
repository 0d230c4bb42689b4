/**
 * One ONNX graph, ready to run: what every device implements (cpu-session.ts, webgpu-device.ts), and the forms of what goes in and comes out.
 * Refuses to know what a graph computes, and any runtime. A run blocks its thread and can't be cancelled.
 */
import { CodedError } from "@flamboyance/contracts";

export type HostTensor =
  | { readonly type: "float32"; readonly data: Float32Array; readonly shape: readonly number[] }
  | { readonly type: "int32"; readonly data: Int32Array; readonly shape: readonly number[] }
  | { readonly type: "int64"; readonly data: BigInt64Array; readonly shape: readonly number[] }
  | { readonly type: "bool"; readonly data: Uint8Array; readonly shape: readonly number[] };

export type OutputTensor = Extract<HostTensor, { readonly type: "float32" }>;

/** float32 numbers in a device's memory: made by one run there, taken by others, never read by the host. Whoever holds it disposes it. */
export interface DeviceTensor {
  readonly type: "device";
  readonly shape: readonly number[];
  /** Frees the memory; may be called again. */
  dispose(): void;
}

/** A result that stays where its session computes. */
export type KeptTensor = OutputTensor | DeviceTensor;

export type InputTensor = HostTensor | DeviceTensor;

/** Frees those that lie on a device; the host's arrays are left alone. */
export function dispose(tensors: Iterable<KeptTensor>): void {
  for (const tensor of tensors) if (tensor.type === "device") tensor.dispose();
}

export interface Session {
  readonly inputNames: readonly string[];
  /**
   * Computes the outputs named. Those of `outputs` come to the host; those of `kept` (default: none) stay where the session computes.
   * Rejects with engine_failed where the runtime does.
   */
  run<Name extends string, Kept extends string = never>(
    inputs: Readonly<Record<string, InputTensor>>,
    outputs: readonly Name[],
    kept?: readonly Kept[],
  ): Promise<Record<Name, OutputTensor> & Record<Kept, KeptTensor>>;
  release(): Promise<void>;
}

export async function asEngineFailure<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new CodedError("engine_failed", `${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
