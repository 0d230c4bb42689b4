/**
 * One ONNX graph, ready to run. Owns onnxruntime-node: nothing else imports it, so another device or binding is another implementation of `Session`.
 * Refuses to know what a graph computes. A run blocks its thread and can't be cancelled; inputs aren't copied, outputs are.
 */
import { CodedError } from "@flamboyance/contracts";
import { InferenceSession, Tensor } from "onnxruntime-node";

export type InputTensor =
  | { readonly type: "float32"; readonly data: Float32Array; readonly shape: readonly number[] }
  | { readonly type: "int64"; readonly data: BigInt64Array; readonly shape: readonly number[] }
  | { readonly type: "bool"; readonly data: Uint8Array; readonly shape: readonly number[] };

export interface OutputTensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

export interface Session {
  readonly inputNames: readonly string[];
  /** Computes the outputs named; rejects with engine_failed where the runtime does. */
  run<Name extends string>(inputs: Readonly<Record<string, InputTensor>>, outputs: readonly Name[]): Promise<Record<Name, OutputTensor>>;
  release(): Promise<void>;
}

export interface SessionOptions {
  /** Threads of one run; default: all cores. */
  readonly threads?: number;
}

const errorsOnly = 3;

/** Opens a graph on the CPU; its external weights lie beside the file. */
export async function openSession(path: string, { threads }: SessionOptions = {}): Promise<Session> {
  const session = await asEngineFailure(`can't open ${path}`, () =>
    InferenceSession.create(path, {
      executionProviders: ["cpu"],
      graphOptimizationLevel: "all",
      // A pattern is kept for every combination of shapes, and ours change from run to run.
      enableMemPattern: false,
      logSeverityLevel: errorsOnly,
      // A key that is undefined throws.
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
      extra: {
        session: {
          // Two sessions that spin wait against each other for the same cores.
          intra_op: { allow_spinning: "0" },
          inter_op: { allow_spinning: "0" },
        },
      },
    }),
  );
  return {
    inputNames: session.inputNames,
    run: async <Name extends string>(inputs: Readonly<Record<string, InputTensor>>, outputs: readonly Name[]) => {
      const feeds: Record<string, Tensor> = {};
      for (const [name, input] of Object.entries(inputs)) feeds[name] = new Tensor(input.type, input.data, input.shape);
      const results = await asEngineFailure("a run failed", () => session.run(feeds, outputs));
      // Every name of `outputs` is set below.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const found = {} as Record<Name, OutputTensor>;
      for (const name of outputs) {
        const result = results[name];
        if (!(result?.data instanceof Float32Array)) throw new CodedError("engine_failed", `the graph's output ${name} isn't float32`);
        found[name] = { data: result.data, shape: result.dims };
      }
      return found;
    },
    release: () => session.release(),
  };
}

async function asEngineFailure<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new CodedError("engine_failed", `${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
