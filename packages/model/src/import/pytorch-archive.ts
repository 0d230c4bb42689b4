/**
 * Reads PyTorch's files: the zip form (`torch.save` since 1.6), TorchScript archives (`torch.jit.save`), and the older form of pickles in a row.
 * Owns where a tensor's numbers lie, strides and shared storages included; refuses to execute anything (see pickle.ts).
 */
import { CodedError } from "@flamboyance/contracts";
import { fileSizeBytes, readRange } from "./piece-file.ts";
import { unpickle } from "./pickle.ts";
import { isKind, type Pickled, type PickledStorage, type PickledTensor } from "./pickled.ts";
import { bytesPerNumber, numberCount, type StoredTensor } from "./tensor-source.ts";
import { readZip, type ZipRecord } from "./zip.ts";

export interface PytorchFile {
  readonly tensors: Map<string, StoredTensor>;
  /** In a TorchScript archive the class of each module by its path, e.g. `visual.ln_pre` → `__torch__.….LayerNorm`; null in other files. */
  readonly moduleClasses: ReadonlyMap<string, string> | null;
}

/** Every tensor of a state dict, bare or under `model_state_dict` or `state_dict`, without the prefix `module.`; or of a TorchScript module, by attribute path. */
export async function readPytorchZip(path: string): Promise<PytorchFile> {
  const records = await readZip(path);
  const pickleName = [...records.keys()].find((name) => name === "data.pkl" || /^[^/]+\/data\.pkl$/.test(name));
  if (pickleName === undefined)
    throw new CodedError("model_piece_unsupported", `${path} is a zip archive without a data.pkl: not one of PyTorch's`);
  const prefix = pickleName.slice(0, -"data.pkl".length);
  if ((await recordText(path, records.get(`${prefix}byteorder`))) === "big")
    throw new CodedError("model_piece_unsupported", `${path} was written big-endian`);
  const torchScript = records.has(`${prefix}constants.pkl`);
  const { value } = unpickle(await recordBytes(path, records.get(pickleName)), path, { torchScript });

  const locate = (storage: PickledStorage): StoragePlace => {
    const record = records.get(`${prefix}data/${storage.key}`);
    if (record === undefined) throw new CodedError("model_piece_corrupt", `${path}: the storage ${storage.key} isn't in the archive`);
    return { sizeBytes: record.sizeBytes, offset: () => record.locate() };
  };
  if (!torchScript) return { tensors: stateDict(path, value, locate), moduleClasses: null };
  return moduleTree(path, value, locate);
}

/** The form before PyTorch 1.6: magic number, protocol, system, the value, the storages' keys, then each storage: its count, its numbers. */
export async function readPytorchLegacy(path: string): Promise<PytorchFile> {
  const fileBytes = await fileSizeBytes(path);
  const head = await readRange(path, 0, Math.min(fileBytes, legacyHeadLimitBytes));
  const magic = unpickle(head, path);
  if (magic.value !== legacyMagic)
    throw new CodedError("model_piece_unsupported", `${path} is a pickle, but not one that torch.save wrote`);
  const protocol = unpickle(head, path, { offset: magic.end });
  const system = unpickle(head, path, { offset: protocol.end });
  const root = unpickle(head, path, { offset: system.end });
  const keys = unpickle(head, path, { offset: root.end });
  if (!isKind(system.value, "dict") || system.value.entries.get("little_endian") !== true || !isKind(keys.value, "list"))
    throw new CodedError("model_piece_unsupported", `${path} was written big-endian`);

  const storages = storagesOf(root.value);
  const places = new Map<string, StoragePlace>();
  let at = keys.end;
  for (const key of keys.value.items) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    if (storage === undefined || at + 8 > fileBytes)
      throw new CodedError("model_piece_corrupt", `${path} is cut off, or its storages don't fit its tensors`);
    const numbers = Number(new DataView((await readRange(path, at, 8)).buffer).getBigUint64(0, true));
    const place = { offset: at + 8, sizeBytes: numbers * bytesPerNumber[storage.dtype] };
    if (place.offset + place.sizeBytes > fileBytes)
      throw new CodedError("model_piece_corrupt", `${path} is cut off in the storage ${storage.key}`);
    places.set(storage.key, { sizeBytes: place.sizeBytes, offset: () => Promise.resolve(place.offset) });
    at = place.offset + place.sizeBytes;
  }
  const locate = (storage: PickledStorage): StoragePlace => {
    const place = places.get(storage.key);
    if (place === undefined) throw new CodedError("model_piece_corrupt", `${path}: the storage ${storage.key} isn't in the file`);
    return place;
  };
  return { tensors: stateDict(path, root.value, locate), moduleClasses: null };
}

const legacyMagic = 0x1950a86a20f9469cfc6cn;
/** The pickles of a state dict take about 200 bytes per tensor. */
const legacyHeadLimitBytes = 64 * 2 ** 20;

interface StoragePlace {
  readonly sizeBytes: number;
  readonly offset: () => Promise<number>;
}
type Locate = (storage: PickledStorage) => StoragePlace;

/** The state dict of a plain `torch.save`, or of a training checkpoint that keeps it beside its epoch and optimizer. */
function stateDict(path: string, root: Pickled, locate: Locate): Map<string, StoredTensor> {
  const inner = isKind(root, "dict") ? (root.entries.get("model_state_dict") ?? root.entries.get("state_dict") ?? root) : root;
  if (!isKind(inner, "dict")) throw new CodedError("model_piece_unsupported", `${path} doesn't hold a state dict`);
  const names = [...inner.entries.keys()];
  const strip = names.length > 0 && names.every((name) => typeof name === "string" && name.startsWith("module.")) ? "module.".length : 0;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, value] of inner.entries) {
    const label = typeof name === "string" ? name : "an entry without a name";
    if (typeof name !== "string" || !isKind(value, "tensor"))
      throw new CodedError("model_piece_unsupported", `${path}: ${label} isn't a tensor, so this isn't a state dict`, { param: label });
    tensors.set(name.slice(strip), storedTensor(path, name, value, locate));
  }
  return tensors;
}

function moduleTree(path: string, root: Pickled, locate: Locate): PytorchFile {
  const tensors = new Map<string, StoredTensor>();
  const moduleClasses = new Map<string, string>();
  const visit = (value: Pickled, at: string, depth: number): void => {
    if (isKind(value, "tensor")) tensors.set(at, storedTensor(path, at, value, locate));
    if (!isKind(value, "object")) return;
    if (depth > 64) throw new CodedError("model_piece_corrupt", `${path}: its modules are nested without end`);
    moduleClasses.set(at, value.className);
    for (const [name, attribute] of value.attributes)
      if (typeof name === "string") visit(attribute, at === "" ? name : `${at}.${name}`, depth + 1);
  };
  visit(root, "", 0);
  return { tensors, moduleClasses };
}

/** The storages that a value refers to, by key; shared values are visited once. */
function storagesOf(root: Pickled): Map<string, PickledStorage> {
  const storages = new Map<string, PickledStorage>();
  const seen = new Set<Pickled>();
  const waiting: Pickled[] = [root];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    if (isKind(value, "tensor")) storages.set(value.storage.key, value.storage);
    else if (isKind(value, "dict")) waiting.push(...value.entries.values());
    else if (isKind(value, "list") || isKind(value, "tuple")) waiting.push(...value.items);
  }
  return storages;
}

function storedTensor(path: string, name: string, tensor: PickledTensor, locate: Locate): StoredTensor {
  const { storage, shape, strides, offset } = tensor;
  const place = locate(storage);
  const width = bytesPerNumber[storage.dtype];
  const count = numberCount(shape);
  const extent = count === 0 ? 0 : shape.reduce((last, length, axis) => last + (length - 1) * (strides[axis] ?? 0), 1);
  // More numbers than the storage holds would be a tensor that repeats itself: no weight is, and its size would be without bound.
  if (offset + extent > Math.floor(place.sizeBytes / width) || count > storage.numbers)
    throw new CodedError("model_piece_corrupt", `${path}: ${name} reaches past the end of its storage`, { param: name });
  const readPart = async (offsetBytes: number, lengthBytes: number): Promise<Uint8Array> =>
    readRange(path, (await place.offset()) + offset * width + offsetBytes, lengthBytes);
  return {
    name,
    shape,
    dtype: storage.dtype,
    sizeBytes: count * width,
    read: async () => gather(await readPart(0, extent * width), shape, strides, width),
    ...(isContiguous(shape, strides) ? { readPart } : {}),
  };
}

/** The numbers of a strided window in the order of the shape; the window itself where it already is. */
function gather(window: Uint8Array, shape: readonly number[], strides: readonly number[], width: number): Uint8Array {
  if (isContiguous(shape, strides)) return window;
  const gathered = new Uint8Array(numberCount(shape) * width);
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < gathered.length; to += width) {
    for (let byte = 0; byte < width; byte += 1) gathered[to + byte] = window[from * width + byte] ?? 0;
    for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
      const [position, length, stride] = [(index[axis] ?? 0) + 1, shape[axis] ?? 1, strides[axis] ?? 0];
      index[axis] = position < length ? position : 0;
      from += position < length ? stride : -(length - 1) * stride;
      if (position < length) break;
    }
  }
  return gathered;
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis] ?? 1;
  }
  return true;
}

async function recordBytes(path: string, record: ZipRecord | undefined): Promise<Uint8Array> {
  if (record === undefined) return new Uint8Array();
  return readRange(path, await record.locate(), record.sizeBytes);
}

async function recordText(path: string, record: ZipRecord | undefined): Promise<string> {
  return Buffer.from(await recordBytes(path, record))
    .toString("utf8")
    .trim();
}
