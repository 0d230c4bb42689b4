/**
 * A first run of a model folder: one made-up image and a prompt through both graphs. Owns what counts as working: finite numbers, and an answer that ends.
 * Refuses to judge the answer: that weights are the right ones, a run can't tell.
 */
import { CodedError } from "@flamboyance/contracts";
import { folderFiles, type ModelDescription } from "./description.ts";
import { readModelFolder } from "./folder.ts";
import type { DeviceChoice } from "./device/choose-device.ts";
import type { Media, ModelDevice } from "./model.ts";
import { openModel } from "./open-model.ts";

export type ModelCheck =
  | {
      readonly kind: "passed";
      readonly promptTokens: number;
      readonly newTokens: number;
      readonly finish: "stop" | "length";
      /** Of one token of the answer in the mean, by another run than the one that chose it. */
      readonly meanLogProbability: number;
      readonly seconds: number;
      readonly device: ModelDevice;
    }
  /** Opening it would need more memory than there is: another machine may. */
  | { readonly kind: "skipped"; readonly neededBytes: number; readonly availableBytes: number };

export interface CheckOptions {
  /** Where it runs. Default: the CPU. */
  readonly device?: DeviceChoice;
  readonly signal?: AbortSignal;
  /** Memory that may be used. Default: what the system, or the container, has free. */
  readonly availableBytes?: number;
}

/** Throws model_check_failed, and what opening and running throw: model_folder_invalid, device_unavailable, engine_failed, aborted. */
export async function checkModel(folder: string, options: CheckOptions = {}): Promise<ModelCheck> {
  const { device = "cpu", signal, availableBytes = process.availableMemory() } = options;
  const neededBytes = memoryNeeded(await readModelFolder(folder));
  if (neededBytes > availableBytes) return { kind: "skipped", neededBytes, availableBytes };
  const started = performance.now();
  const model = await openModel(folder, { device, ...(signal === undefined ? {} : { signal }) });
  try {
    const passage = { text: "<image>Output:", media: [madeUpImage(model.description.preprocessing.imageSize)] };
    const { tokens, promptTokens, finish, text } = await model.generate({ id: "check", ...passage, generation: { maxNewTokens } }, signal);
    const { candidates } = await model.rank({ id: "check", ...passage, candidates: [text === "" ? "a" : text] }, signal);
    const [ranked] = candidates;
    // A log-softmax is finite only if all of its row is.
    if (ranked === undefined || !Number.isFinite(ranked.sum) || ranked.sum > 0)
      throw new CodedError("model_check_failed", `${folder}: a first run gave the log-probability ${ranked?.sum ?? "of nothing"}`);
    if (tokens.length === 0 || tokens.length > maxNewTokens)
      throw new CodedError("model_check_failed", `${folder}: a first answer of ${tokens.length} tokens didn't end`);
    const seconds = (performance.now() - started) / 1_000;
    return {
      kind: "passed",
      promptTokens,
      newTokens: tokens.length,
      finish,
      meanLogProbability: ranked.mean,
      seconds,
      device: model.device,
    };
  } finally {
    await model.close();
  }
}

const maxNewTokens = 8;
/** What a session holds beyond its weights: the runtime's own copies of some in another order, activations, one row's K and V. */
const overheadBytes = 2 ** 30;

function memoryNeeded({ files }: ModelDescription): number {
  const weights = [folderFiles.visionWeights, folderFiles.decoderWeights].reduce((sum, name) => sum + (files[name]?.sizeBytes ?? 0), 0);
  return weights + overheadBytes;
}

/** Of −2 to 2, as normalised pixels are; always the same. */
function madeUpImage(side: number): Media {
  let state = 1;
  return [
    Float32Array.from({ length: 3 * side * side }, () => {
      state = Math.imul(state, 1_664_525) + 1_013_904_223;
      return ((state >>> 0) / 2 ** 32) * 4 - 2;
    }),
  ];
}
