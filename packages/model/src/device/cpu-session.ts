/**
 * Sessions on the CPU, by onnxruntime-node, which has two owners: this file and webgpu-device.ts. Inputs are read in place, outputs are arrays of their
 * own, and so is what is kept. Refuses tensors of other devices.
 */
import { CodedError } from "@flamboyance/contracts";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { asEngineFailure, type InputTensor, type OutputTensor, type Session } from "../session.ts";

export interface SessionOptions {
  /** Threads of one run; default: all cores. */
  readonly threads?: number;
}

const errorsOnly = 3;

/** Opens a graph, as a file with its external weights beside it or as bytes. */
export async function openSession(graph: string | Uint8Array, { threads }: SessionOptions = {}): Promise<Session> {
  const options: InferenceSession.SessionOptions = {
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
  };
  const session = await asEngineFailure(`can't open ${typeof graph === "string" ? graph : "a graph"}`, () =>
    typeof graph === "string" ? InferenceSession.create(graph, options) : InferenceSession.create(graph, options),
  );
  return {
    inputNames: session.inputNames,
    run: async <Name extends string, Kept extends string = never>(
      inputs: Readonly<Record<string, InputTensor>>,
      outputs: readonly Name[],
      kept: readonly Kept[] = [],
    ) => {
      const feeds: Record<string, Tensor> = {};
      for (const [name, input] of Object.entries(inputs)) {
        if (input.type === "device") throw new CodedError("engine_failed", `the input ${name} lies on another device`);
        feeds[name] = new Tensor(input.type, input.data, input.shape);
      }
      const names = [...outputs, ...kept];
      const results = await asEngineFailure("a run failed", () => session.run(feeds, names));
      // Every name is set below.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const found = {} as Record<Name | Kept, OutputTensor>;
      for (const name of names) {
        const result = results[name];
        if (!(result?.data instanceof Float32Array)) throw new CodedError("engine_failed", `the graph's output ${name} isn't float32`);
        found[name] = { type: "float32", data: result.data, shape: result.dims };
      }
      return found;
    },
    release: () => session.release(),
  };
}
