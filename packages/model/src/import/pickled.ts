/** What a pickle can hold here: plain values and containers, and descriptions of tensors. Owns the narrowing of such values; a value of another kind is a TypeError. */
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

export type Kind = Extract<Pickled, { kind: string }>["kind"];

export function isKind<K extends Kind>(value: Pickled | undefined, kind: K): value is Extract<Pickled, { kind: K }> {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === kind;
}

export function isModuleClass(value: Pickled): boolean {
  return isKind(value, "name") && (value.module === "__torch__" || value.module.startsWith("__torch__."));
}

export function nameOf(value: Pickled): string {
  return isKind(value, "name") ? `${value.module}.${value.name}` : "something that isn't a name";
}

export function textOf(value: Pickled | undefined): string {
  if (typeof value !== "string") throw new TypeError("a text was expected");
  return value;
}

export function countOf(value: Pickled | undefined): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw new TypeError("a count was expected");
  return value;
}

export function listItems(value: Pickled): Pickled[] {
  if (!isKind(value, "list")) throw new TypeError("a list was expected");
  return value.items;
}

export function tupleItems(value: Pickled | undefined): Pickled[] {
  if (!isKind(value, "tuple")) throw new TypeError("a tuple was expected");
  return value.items;
}

export function sequenceItems(value: Pickled): Pickled[] {
  if (!isKind(value, "list") && !isKind(value, "tuple")) throw new TypeError("a sequence was expected");
  return value.items;
}

export function dictEntries(value: Pickled): Map<Pickled, Pickled> {
  if (!isKind(value, "dict")) throw new TypeError("a dict was expected");
  return value.entries;
}

export function pairs(items: readonly Pickled[]): Map<Pickled, Pickled> {
  if (items.length % 2 !== 0) throw new TypeError("a key without a value");
  const entries = new Map<Pickled, Pickled>();
  for (let index = 0; index < items.length; index += 2) entries.set(items[index] ?? null, items[index + 1] ?? null);
  return entries;
}

export function pairOf(items: readonly Pickled[]): [Pickled, Pickled] {
  if (items.length !== 2) throw new TypeError("a pair was expected");
  return [items[0] ?? null, items[1] ?? null];
}
