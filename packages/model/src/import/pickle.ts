/**
 * A pickle machine that can run no code: it builds plain containers, numbers, texts and *descriptions* of tensors, and stops at anything else.
 * Owns the opcodes and the short list of names that a pickle may call; refuses (`pickle_refused`) every other name, class and opcode.
 * The value that a pickle would build by calling `os.system` is never built: no name is ever looked up anywhere but in this file's list.
 */
import { CodedError } from "@flamboyance/contracts";
import type { StoredType } from "./tensor-source.ts";

export type Pickled =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | { readonly kind: "list"; readonly items: Pickled[] }
  | { readonly kind: "tuple"; readonly items: Pickled[] }
  | PickledDict
  | PickledObject
  | PickledStorage
  | PickledTensor
  | { readonly kind: "name"; readonly module: string; readonly name: string };

export interface PickledDict {
  readonly kind: "dict";
  readonly entries: Map<Pickled, Pickled>;
}

/** A TorchScript module: its class is a label, its attributes are what was saved. */
export interface PickledObject {
  readonly kind: "object";
  readonly className: string;
  attributes: Map<Pickled, Pickled>;
}

/** Where a tensor's numbers lie: the record of that key. */
export interface PickledStorage {
  readonly kind: "storage";
  readonly dtype: StoredType;
  readonly key: string;
  readonly numbers: number;
}

export interface PickledTensor {
  readonly kind: "tensor";
  readonly storage: PickledStorage;
  /** In numbers, from the storage's begin. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** Reads the pickle that begins at `offset`; `file` is for messages, `torchScript` allows TorchScript's module classes as labels. */
export function unpickle(
  bytes: Uint8Array,
  file: string,
  options: { offset?: number; torchScript?: boolean } = {},
): { value: Pickled; end: number } {
  const refuse: Refusal = (what) =>
    new CodedError("pickle_refused", `${file} holds ${what}: only tensors and plain containers are read, and nothing was executed`);
  try {
    return run(bytes, options.offset ?? 0, { torchScript: options.torchScript ?? false, refuse });
  } catch (error) {
    if (error instanceof CodedError) throw error;
    // The machine's own stops: a read past the end, an empty stack, a value of the wrong kind.
    throw new CodedError("model_piece_corrupt", `${file} isn't a whole pickle`, { cause: error });
  }
}

interface Rules {
  readonly torchScript: boolean;
  readonly refuse: Refusal;
}
type Refusal = (what: string) => CodedError;

function run(bytes: Uint8Array, begin: number, rules: Rules): { value: Pickled; end: number } {
  const input = new PickleInput(bytes, begin);
  let stack: Pickled[] = [];
  const marked: Pickled[][] = [];
  const memo = new Map<number, Pickled>();

  const push = (value: Pickled): void => {
    stack.push(value);
  };
  const pop = (): Pickled => {
    if (stack.length === 0) throw new RangeError("the stack is empty");
    return stack.pop() ?? null;
  };
  const top = (): Pickled => {
    if (stack.length === 0) throw new RangeError("the stack is empty");
    return stack.at(-1) ?? null;
  };
  const popToMark = (): Pickled[] => {
    const items = stack;
    const below = marked.pop();
    if (below === undefined) throw new RangeError("there is no mark");
    stack = below;
    return items;
  };
  const popTuple = (length: number): void => {
    if (stack.length < length) throw new RangeError("the stack is too short");
    push({ kind: "tuple", items: stack.splice(stack.length - length) });
  };
  const recall = (key: number): void => {
    if (!memo.has(key)) throw new RangeError("nothing was kept under this number");
    push(memo.get(key) ?? null);
  };

  for (;;) {
    const opcode = input.byte();
    switch (opcode) {
      // Frames and ends
      case 0x80: // PROTO
        if (input.byte() > 5) throw rules.refuse("a pickle of an unknown protocol");
        break;
      case 0x95: // FRAME
        input.take(8);
        break;
      case 0x2e: // STOP
        return { value: pop(), end: input.at };
      // The stack
      case 0x28: // MARK
        marked.push(stack);
        stack = [];
        break;
      case 0x30: // POP
        if (stack.length === 0) popToMark();
        else pop();
        break;
      case 0x31: // POP_MARK
        popToMark();
        break;
      case 0x32: // DUP
        push(top());
        break;
      // Plain values
      case 0x4e: // NONE
        push(null);
        break;
      case 0x88: // NEWTRUE
        push(true);
        break;
      case 0x89: // NEWFALSE
        push(false);
        break;
      case 0x49: // INT: also protocol 0's booleans
        push(textInteger(input.line(), true));
        break;
      case 0x4c: // LONG
        push(textInteger(input.line().replace(/L$/, ""), false));
        break;
      case 0x4a: // BININT
        push(input.view(4).getInt32(0, true));
        break;
      case 0x4b: // BININT1
        push(input.byte());
        break;
      case 0x4d: // BININT2
        push(input.view(2).getUint16(0, true));
        break;
      case 0x8a: // LONG1
        push(littleInteger(input.take(input.byte())));
        break;
      case 0x8b: // LONG4
        push(littleInteger(input.take(input.length(4))));
        break;
      case 0x46: // FLOAT
        push(Number(input.line()));
        break;
      case 0x47: // BINFLOAT
        push(input.view(8).getFloat64(0, false));
        break;
      case 0x58: // BINUNICODE
        push(input.text(input.length(4)));
        break;
      case 0x8c: // SHORT_BINUNICODE
        push(input.text(input.byte()));
        break;
      case 0x8d: // BINUNICODE8
        push(input.text(input.length(8)));
        break;
      case 0x56: // UNICODE
        push(input.line());
        break;
      case 0x54: // BINSTRING: Python 2's texts
        push(input.text(input.length(4)));
        break;
      case 0x55: // SHORT_BINSTRING
        push(input.text(input.byte()));
        break;
      case 0x42: // BINBYTES
        push(input.take(input.length(4)));
        break;
      case 0x43: // SHORT_BINBYTES
        push(input.take(input.byte()));
        break;
      case 0x8e: // BINBYTES8
        push(input.take(input.length(8)));
        break;
      // Containers
      case 0x5d: // EMPTY_LIST
        push({ kind: "list", items: [] });
        break;
      case 0x6c: // LIST
        push({ kind: "list", items: popToMark() });
        break;
      case 0x61: {
        // APPEND
        const item = pop();
        listItems(top()).push(item);
        break;
      }
      case 0x65: {
        // APPENDS
        const items = popToMark();
        const list = listItems(top());
        for (const item of items) list.push(item);
        break;
      }
      case 0x29: // EMPTY_TUPLE
        push({ kind: "tuple", items: [] });
        break;
      case 0x74: // TUPLE
        push({ kind: "tuple", items: popToMark() });
        break;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        popTuple(opcode - 0x84);
        break;
      case 0x7d: // EMPTY_DICT
        push({ kind: "dict", entries: new Map() });
        break;
      case 0x64: // DICT
        push({ kind: "dict", entries: pairs(popToMark()) });
        break;
      case 0x73: {
        // SETITEM
        const [value, key] = [pop(), pop()];
        dictEntries(top()).set(key, value);
        break;
      }
      case 0x75: {
        // SETITEMS
        const items = pairs(popToMark());
        const entries = dictEntries(top());
        for (const [key, value] of items) entries.set(key, value);
        break;
      }
      // What was seen before
      case 0x70: // PUT
        memo.set(Number(input.line()), top());
        break;
      case 0x71: // BINPUT
        memo.set(input.byte(), top());
        break;
      case 0x72: // LONG_BINPUT
        memo.set(input.length(4), top());
        break;
      case 0x94: // MEMOIZE
        memo.set(memo.size, top());
        break;
      case 0x67: // GET
        recall(Number(input.line()));
        break;
      case 0x68: // BINGET
        recall(input.byte());
        break;
      case 0x6a: // LONG_BINGET
        recall(input.length(4));
        break;
      // Names, and the few that may be called
      case 0x63: // GLOBAL
        push(allowedName(input.line(), input.line(), rules));
        break;
      case 0x93: {
        // STACK_GLOBAL
        const [name, module] = [textOf(pop()), textOf(pop())];
        push(allowedName(module, name, rules));
        break;
      }
      case 0x52: {
        // REDUCE
        const [args, callee] = [tupleItems(pop()), pop()];
        push(call(callee, args, rules));
        break;
      }
      case 0x81: {
        // NEWOBJ
        const [args, callee] = [tupleItems(pop()), pop()];
        if (!isModuleClass(callee) || args.length > 0) throw rules.refuse(`an object of ${nameOf(callee)}`);
        push({ kind: "object", className: nameOf(callee), attributes: new Map() });
        break;
      }
      case 0x62: {
        // BUILD: a module's attributes; on an OrderedDict it is torch's `_metadata` (versions), which nothing here needs
        const [state, target] = [pop(), top()];
        if (isKind(target, "object") && isKind(state, "dict")) target.attributes = state.entries;
        else if (!isKind(target, "dict") || !isKind(state, "dict")) throw rules.refuse("an object with a state of its own");
        break;
      }
      case 0x51: // BINPERSID
        push(storageOf(pop(), rules));
        break;
      default:
        throw rules.refuse(`the pickle opcode 0x${opcode.toString(16)}`);
    }
  }
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
const torchScriptNames = new Set(["build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag"].map(
  (name) => `torch.jit._pickle.${name}`,
));

/** The only place where a pickle's name is looked at: everything off the list is refused at sight, before it could be called. */
function allowedName(module: string, name: string, rules: Rules): Pickled {
  const full = `${module}.${name}`;
  const allowed =
    callableNames.has(full) ||
    (module === "torch" && Object.hasOwn(storageTypes, name)) ||
    (rules.torchScript && (torchScriptNames.has(full) || module === "__torch__" || module.startsWith("__torch__.")));
  if (!allowed) throw rules.refuse(`the name ${full}`);
  return { kind: "name", module, name };
}

function call(callee: Pickled, args: readonly Pickled[], rules: Rules): Pickled {
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
function storageOf(id: Pickled, rules: Rules): PickledStorage {
  const [tag, type, key, , numbers] = tupleItems(id);
  const dtype = isKind(type, "name") && type.module === "torch" ? storageTypes[type.name] : undefined;
  if (tag !== "storage" || dtype === undefined) throw rules.refuse("a reference to something other than a tensor's storage");
  return { kind: "storage", dtype, key: textOf(key), numbers: countOf(numbers) };
}

/** The bytes of a pickle, read forwards only. Reads past the end throw a RangeError. */
class PickleInput {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.at) throw new RangeError("the pickle is cut off");
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  view(length: number): DataView {
    const bytes = this.take(length);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }

  byte(): number {
    return this.view(1).getUint8(0);
  }

  length(width: 4 | 8): number {
    return width === 4 ? this.view(4).getUint32(0, true) : Number(this.view(8).getBigUint64(0, true));
  }

  text(length: number): string {
    return Buffer.from(this.take(length)).toString("utf8");
  }

  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.at);
    if (end < 0) throw new RangeError("the pickle is cut off");
    const text = this.text(end - this.at);
    this.at = end + 1;
    return text;
  }
}

function textInteger(text: string, booleans: boolean): Pickled {
  if (booleans && (text === "00" || text === "01")) return text === "01";
  return safeInteger(BigInt(text));
}

function littleInteger(bytes: Uint8Array): Pickled {
  let value = 0n;
  for (let index = bytes.length - 1; index >= 0; index -= 1) value = (value << 8n) | BigInt(bytes[index] ?? 0);
  return safeInteger(BigInt.asIntN(Math.max(1, bytes.length) * 8, value));
}

function safeInteger(value: bigint): Pickled {
  return BigInt.asIntN(54, value) === value ? Number(value) : value;
}

type Kind = Extract<Pickled, { kind: string }>["kind"];

export function isKind<K extends Kind>(value: Pickled | undefined, kind: K): value is Extract<Pickled, { kind: K }> {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === kind;
}

function isModuleClass(value: Pickled): boolean {
  return isKind(value, "name") && (value.module === "__torch__" || value.module.startsWith("__torch__."));
}

function nameOf(value: Pickled): string {
  return isKind(value, "name") ? `${value.module}.${value.name}` : "something that isn't a name";
}

function textOf(value: Pickled | undefined): string {
  if (typeof value !== "string") throw new TypeError("a text was expected");
  return value;
}

function countOf(value: Pickled | undefined): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw new TypeError("a count was expected");
  return value;
}

function listItems(value: Pickled): Pickled[] {
  if (!isKind(value, "list")) throw new TypeError("a list was expected");
  return value.items;
}

function tupleItems(value: Pickled | undefined): Pickled[] {
  if (!isKind(value, "tuple")) throw new TypeError("a tuple was expected");
  return value.items;
}

function sequenceItems(value: Pickled): Pickled[] {
  if (!isKind(value, "list") && !isKind(value, "tuple")) throw new TypeError("a sequence was expected");
  return value.items;
}

function dictEntries(value: Pickled): Map<Pickled, Pickled> {
  if (!isKind(value, "dict")) throw new TypeError("a dict was expected");
  return value.entries;
}

function pairs(items: readonly Pickled[]): Map<Pickled, Pickled> {
  if (items.length % 2 !== 0) throw new TypeError("a key without a value");
  const entries = new Map<Pickled, Pickled>();
  for (let index = 0; index < items.length; index += 2) entries.set(items[index] ?? null, items[index + 1] ?? null);
  return entries;
}

function pairOf(items: readonly Pickled[]): [Pickled, Pickled] {
  if (items.length !== 2) throw new TypeError("a pair was expected");
  return [items[0] ?? null, items[1] ?? null];
}
