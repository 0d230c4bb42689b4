/**
 * The names that a pickle may say and the few that it may call. Owns that list, and what each call builds; nothing is ever looked up anywhere else.
 * Refuses every other name at sight, before it could be called.
 */
import type { CodedError } from "@flamboyance/contracts";
import {
  countOf,
  isKind,
  nameOf,
  pairOf,
  sequenceItems,
  textOf,
  tupleItems,
  type Pickled,
  type PickledStorage,
  type PickledTensor,
} from "./pickled.ts";
import type { StoredType } from "./tensor-source.ts";

export interface Rules {
  /** Allows TorchScript's module classes, as labels. */
  readonly torchScript: boolean;
  readonly refuse: (what: string) => CodedError;
}

const storageTypes: Readonly<Record<string, StoredType>> = {
  FloatStorage: "f32",
  HalfStorage: "f16",
  BFloat16Storage: "bf16",
  DoubleStorage: "f64",
  LongStorage: "i64",
  IntStorage: "i32",
  ShortStorage: "i16",
  CharStorage: "i8",
  ByteStorage: "u8",
  BoolStorage: "bool",
};

const callableNames = new Set([
  "collections.OrderedDict",
  "torch.Size",
  "torch._utils._rebuild_tensor",
  "torch._utils._rebuild_tensor_v2",
  "torch._utils._rebuild_parameter",
]);
/** How TorchScript writes lists of its own types. */
const torchScriptNames = new Set(
  ["build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag"].map(
    (name) => `torch.jit._pickle.${name}`,
  ),
);

/** The only place where a pickle's name is looked at. */
export function allowedName(module: string, name: string, rules: Rules): Pickled {
  const full = `${module}.${name}`;
  const allowed =
    callableNames.has(full) ||
    (module === "torch" && Object.hasOwn(storageTypes, name)) ||
    (rules.torchScript && (torchScriptNames.has(full) || module === "__torch__" || module.startsWith("__torch__.")));
  if (!allowed) throw rules.refuse(`the name ${full}`);
  return { kind: "name", module, name };
}

export function call(callee: Pickled, args: readonly Pickled[], rules: Rules): Pickled {
  const [first, second, third, fourth] = args;
  switch (nameOf(callee)) {
    case "collections.OrderedDict":
      if (first === undefined) return { kind: "dict", entries: new Map() };
      return { kind: "dict", entries: new Map(sequenceItems(first).map((pair) => pairOf(sequenceItems(pair)))) };
    case "torch.Size":
      return { kind: "tuple", items: sequenceItems(first ?? null) };
    case "torch._utils._rebuild_tensor":
    case "torch._utils._rebuild_tensor_v2": {
      if (!isKind(first, "storage")) throw rules.refuse("a tensor without a storage");
      const tensor: PickledTensor = {
        kind: "tensor",
        storage: first,
        offset: countOf(second),
        shape: tupleItems(third).map(countOf),
        strides: tupleItems(fourth).map(countOf),
      };
      if (tensor.shape.length !== tensor.strides.length) throw new RangeError("a stride is missing");
      return tensor;
    }
    case "torch._utils._rebuild_parameter":
      if (!isKind(first, "tensor")) throw rules.refuse("a parameter that isn't a tensor");
      return first;
    case "torch.jit._pickle.build_intlist":
    case "torch.jit._pickle.build_doublelist":
    case "torch.jit._pickle.build_boollist":
    case "torch.jit._pickle.build_tensorlist":
      return { kind: "list", items: sequenceItems(first ?? null) };
    case "torch.jit._pickle.restore_type_tag":
      return first ?? null;
    default:
      throw rules.refuse(`a call of ${nameOf(callee)}`);
  }
}

/** A persistent id: ("storage", type, key, device, numbers); the device doesn't matter here. */
export function storageOf(id: Pickled, rules: Rules): PickledStorage {
  const [tag, type, key, , numbers] = tupleItems(id);
  const dtype = isKind(type, "name") && type.module === "torch" ? storageTypes[type.name] : undefined;
  if (tag !== "storage" || dtype === undefined) throw rules.refuse("a reference to something other than a tensor's storage");
  return { kind: "storage", dtype, key: textOf(key), numbers: countOf(numbers) };
}
