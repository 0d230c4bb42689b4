/**
 * A model folder on disk: written whole, read with its sizes checked. Owns flamingo.json and the graphs' external data; refuses pieces' forms (import/)
 * and running (cpu-session.ts, webgpu-device.ts). One tensor is in memory at a time.
 */
import { createHash, randomUUID, type Hash } from "node:crypto";
import { mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import {
  clipNormalisation,
  folderFiles,
  modelDescriptionSchema,
  productForms,
  type ModelDescription,
  type Precision,
} from "./description.ts";
import { widenToFloat32 } from "./float32.ts";
import { buildDecoderGraph } from "./graph/decoder.ts";
import { buildVisionGraph } from "./graph/vision.ts";
import type { ImportedModel } from "./import/pieces.ts";
import type { TensorSource } from "./import/tensor-source.ts";
import { encodeModel, type GraphDeclaration, type WeightDeclaration } from "./onnx/model-file.ts";
import { packWeight } from "./onnx/weight-form.ts";

export interface WriteProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface WriteOptions {
  /** Default: the folder's last part. */
  readonly name?: string;
  /** Default: fp32. */
  readonly precision?: Precision;
  readonly onProgress?: (progress: WriteProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a model of unlimited positions (ALiBi) is given: the length that the released ones were trained at. */
const defaultMaxPositions = 2048;
const defaultMaxFrames = 64;

/**
 * Writes the folder beside its place and renames it there, so that it is whole or not there; a model folder that stood there is replaced, and one that holds
 * anything else is `model_folder_invalid` and left alone. Throws tensor_missing, tensor_surplus, tensor_misshapen (a graph and the tensors disagree) and what reading the pieces throws.
 */
export async function writeModelFolder(imported: ImportedModel, folder: string, options: WriteOptions = {}): Promise<ModelDescription> {
  const place = resolve(folder);
  await refuseOtherFolder(place);
  const { architecture, tensors } = imported;
  const { precision = "fp32" } = options;
  const products = productForms[precision];
  const graphs = [
    {
      graph: buildVisionGraph(architecture, (name) => tensors.has(name), products.vision),
      file: folderFiles.visionGraph,
      weights: folderFiles.visionWeights,
    },
    {
      graph: buildDecoderGraph(architecture, (name) => tensors.has(name), products.decoder),
      file: folderFiles.decoderGraph,
      weights: folderFiles.decoderWeights,
    },
  ];
  checkTensors(
    graphs.map(({ graph }) => graph),
    tensors,
  );
  const totalBytes = graphs.flatMap(({ graph }) => graph.weights).reduce((sum, weight) => sum + weight.sizeBytes, 0);

  const unfinished = join(dirname(place), `.${basename(place)}.${randomUUID()}`);
  await mkdir(unfinished, { recursive: true });
  try {
    const files: ModelDescription["files"] = {};
    let earlierBytes = 0;
    for (const { graph, file, weights } of graphs) {
      const startBytes = earlierBytes;
      files[file] = await writeWhole(join(unfinished, file), encodeModel(graph, weights));
      files[weights] = await writeWeights(join(unfinished, weights), graph, tensors, {
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        onProgress: (doneBytes) => {
          earlierBytes = startBytes + doneBytes;
          options.onProgress?.({ doneBytes: earlierBytes, totalBytes });
        },
      });
    }
    if (precision === "fp32") {
      const graph = buildVisionGraph(architecture, (name) => tensors.has(name), products.vision, "spelled");
      files[folderFiles.deviceVisionGraph] = await writeWhole(
        join(unfinished, folderFiles.deviceVisionGraph),
        encodeModel(graph, folderFiles.visionWeights),
      );
    }
    files[folderFiles.tokenizer] = await writeWhole(
      join(unfinished, folderFiles.tokenizer),
      new TextEncoder().encode(imported.tokenizerJson),
    );
    const description = describe(imported, { name: options.name ?? basename(place), precision, files });
    await writeFile(join(unfinished, folderFiles.description), `${JSON.stringify(description, null, 2)}\n`);
    await replaceFolder(unfinished, place);
    return description;
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
}

/** Reads flamingo.json and checks that every file is there in its size; throws model_folder_invalid. Hashes are there for whoever copies a folder. */
export async function readModelFolder(folder: string): Promise<ModelDescription> {
  const path = join(folder, folderFiles.description);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new CodedError("model_folder_invalid", `${path} can't be read`, { cause: error });
  });
  const parsed = modelDescriptionSchema.safeParse(parseJson(text, path));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new CodedError("model_folder_invalid", `${path}: ${issue?.path.join(".") ?? ""} ${issue?.message ?? "doesn't fit"}`);
  }
  for (const [file, { sizeBytes }] of Object.entries(parsed.data.files)) {
    const found = await stat(join(folder, file)).catch(() => null);
    if (found === null) throw new CodedError("model_folder_invalid", `${join(folder, file)} isn't there`);
    if (found.size !== sizeBytes)
      throw new CodedError("model_folder_invalid", `${join(folder, file)} has ${found.size} bytes where ${sizeBytes} are due`);
  }
  return parsed.data;
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CodedError("model_folder_invalid", `${path} isn't JSON`, { cause: error });
  }
}

/** Every weight of the graphs is a tensor of the pieces, with as many numbers, and none is left over. */
function checkTensors(graphs: readonly GraphDeclaration[], tensors: ReadonlyMap<string, TensorSource>): void {
  const used = new Set<string>();
  for (const weight of graphs.flatMap((graph) => graph.weights)) {
    const { tensor: name, tensorShape } = weight;
    const tensor = tensors.get(name);
    if (tensor === undefined)
      throw new CodedError("tensor_missing", `the model needs ${name}, which the pieces don't hold`, { param: name });
    if (product(tensor.shape) !== product(tensorShape)) {
      throw new CodedError("tensor_misshapen", `${name} is (${tensor.shape.join()}) where (${tensorShape.join()}) is needed`, {
        param: name,
      });
    }
    used.add(name);
  }
  for (const name of tensors.keys()) {
    if (!used.has(name)) throw new CodedError("tensor_surplus", `nothing uses ${name}`, { param: name });
  }
}

async function writeWeights(
  path: string,
  graph: GraphDeclaration,
  tensors: ReadonlyMap<string, TensorSource>,
  options: { readonly onProgress: (doneBytes: number) => void; readonly signal?: AbortSignal },
): Promise<ModelDescription["files"][string]> {
  const hash = createHash("sha256");
  const file = await open(path, "wx");
  let writtenBytes = 0;
  let doneBytes = 0;
  let tensorRead: string | null = null;
  let numbers: Float32Array = new Float32Array(0);
  const append = async (bytes: Uint8Array): Promise<void> => {
    hash.update(bytes);
    await file.appendFile(bytes);
    writtenBytes += bytes.length;
  };
  try {
    for (const weight of graph.weights) {
      if (options.signal?.aborted === true)
        throw new CodedError("aborted", `writing ${path} was given up`, { cause: options.signal.reason });
      if (weight.offsetBytes > writtenBytes) await append(new Uint8Array(weight.offsetBytes - writtenBytes));
      // A rounded weight and its scales stand side by side: the tensor is read once for both.
      if (weight.tensor !== tensorRead) numbers = await readNumbers(weight, tensors);
      tensorRead = weight.tensor;
      const bytes = packWeight(weight.form, numbers, weight.tensorShape);
      await append(bytes);
      doneBytes += bytes.length;
      options.onProgress(doneBytes);
    }
  } finally {
    await file.close();
  }
  return { sizeBytes: writtenBytes, sha256: hash.digest("hex") };
}

async function readNumbers(weight: WeightDeclaration, tensors: ReadonlyMap<string, TensorSource>): Promise<Float32Array> {
  const tensor = tensors.get(weight.tensor);
  if (tensor === undefined) throw new CodedError("tensor_missing", `the model needs ${weight.tensor}`, { param: weight.tensor });
  const bytes = widenToFloat32(await tensor.read(), tensor.dtype);
  const dueBytes = product(weight.tensorShape) * Float32Array.BYTES_PER_ELEMENT;
  if (bytes.length !== dueBytes) {
    throw new CodedError("model_piece_corrupt", `${tensor.name} gave ${bytes.length} bytes where ${dueBytes} are due`, {
      param: weight.tensor,
    });
  }
  return bytes.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0
    ? new Float32Array(bytes.buffer, bytes.byteOffset, product(weight.tensorShape))
    : new Float32Array(bytes.slice().buffer);
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<ModelDescription["files"][string]> {
  await writeFile(path, bytes, { flag: "wx" });
  return { sizeBytes: bytes.length, sha256: hexDigest(createHash("sha256"), bytes) };
}

function describe(
  imported: ImportedModel,
  { name, precision, files }: Pick<ModelDescription, "name" | "precision" | "files">,
): ModelDescription {
  const { architecture, specialTokens, notes } = imported;
  const maxPositions = architecture.decoder.maxPositions ?? defaultMaxPositions;
  const content = {
    formatVersion: 2,
    precision,
    architecture,
    preprocessing: { imageSize: architecture.vision.imageSize, ...clipNormalisation },
    specialTokens,
    files,
    limits: {
      maxPositions,
      maxPromptTokens: maxPositions - 1,
      maxFrames: architecture.resampler.maxFrames ?? defaultMaxFrames,
    },
    notes: [...notes],
  };
  const contentHash = hexDigest(createHash("sha256"), new TextEncoder().encode(JSON.stringify(content)));
  return modelDescriptionSchema.parse({ name, contentHash, ...content });
}

function hexDigest(hash: Hash, bytes: Uint8Array): string {
  return hash.update(bytes).digest("hex");
}

/** What is replaced is a model or nothing: a mistyped path mustn't cost anybody's files. */
async function refuseOtherFolder(place: string): Promise<void> {
  const entries: readonly string[] = await readdir(place).catch((error: unknown): string[] => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    const why = error instanceof Error && "code" in error && error.code === "ENOTDIR" ? "it is a file" : "it can't be read";
    throw new CodedError("model_folder_invalid", `${place} can't become a model folder: ${why}`, { cause: error });
  });
  if (entries.length > 0 && !entries.includes(folderFiles.description))
    throw new CodedError("model_folder_invalid", `${place} holds files and is no model folder: it isn't replaced`);
}

/** A rename can't replace a folder with files in it: the old one steps aside first. */
async function replaceFolder(from: string, to: string): Promise<void> {
  const aside = `${from}.replaced`;
  await rename(to, aside).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  });
  await rename(from, to);
  await rm(aside, { recursive: true, force: true });
}

function product(shape: readonly number[]): number {
  return shape.reduce((total, length) => total * length, 1);
}
