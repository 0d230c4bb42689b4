/**
 * The layers that vision and decoder share, as ONNX nodes: the words in which graph/vision.ts and graph/decoder.ts are written.
 * Owns how a layer is spelled in operators; refuses to know which tensors a model has beyond the names it is given.
 */
import type { GraphBuilder, Value } from "../onnx/graph-builder.ts";
import { linear } from "./linear.ts";

/** A graph under construction, the canonical tensors that the model has (biases are optional in some), and how products with weights are taken. */
export interface Wiring {
  readonly graph: GraphBuilder;
  readonly has: (tensor: string) => boolean;
  readonly products: ProductForm;
  /** fused: one operator. spelled: product, softmax, product; for WebGPU, whose fused one is wrong on llvmpipe (onnxruntime 1.30). */
  readonly attention: "fused" | "spelled";
}

/** float32: exact. int8: weights and rows rounded to 8 bits. int4: weights in 4-bit blocks, rows to 8 bits; few rows, small memory. */
export type ProductForm = "float32" | "int8" | "int4";

export const add = ({ graph }: Wiring, left: Value, right: Value): Value => graph.node("Add", [left, right]);
export const subtract = ({ graph }: Wiring, left: Value, right: Value): Value => graph.node("Sub", [left, right]);
export const multiply = ({ graph }: Wiring, left: Value, right: Value): Value => graph.node("Mul", [left, right]);
export const matrixProduct = ({ graph }: Wiring, left: Value, right: Value): Value => graph.node("MatMul", [left, right]);
export const softmax = ({ graph }: Wiring, scores: Value): Value => graph.node("Softmax", [scores], { axis: -1 });
export const transpose = ({ graph }: Wiring, value: Value, order: readonly number[]): Value =>
  graph.node("Transpose", [value], { perm: order });
export const concat = ({ graph }: Wiring, values: readonly Value[], axis: number): Value => graph.node("Concat", values, { axis });

/** In `shape` 0 keeps an axis and −1 takes what is left; a value serves where axes are only known at the run. */
export function reshape({ graph }: Wiring, value: Value, shape: Value | readonly number[]): Value {
  return graph.node("Reshape", [value, typeof shape === "string" ? shape : graph.integers(shape)]);
}

/** A shape for `reshape` of numbers and one-element values. */
export function shapeOf({ graph }: Wiring, axes: readonly (Value | number)[]): Value {
  return graph.node(
    "Concat",
    axes.map((axis) => (typeof axis === "number" ? graph.integers([axis]) : axis)),
    { axis: 0 },
  );
}

/** The length of one axis of a value, as a one-element vector. */
export function axisLength({ graph }: Wiring, value: Value, axis: number): Value {
  return graph.node("Shape", [value], { start: axis, end: axis + 1 });
}

/** 0, 1, 2 … up to a one-element vector's value, int64 (count). */
export function range({ graph }: Wiring, count: Value): Value {
  return graph.node("Range", [graph.integer(0), graph.node("Squeeze", [count]), graph.integer(1)]);
}

export function toFloat({ graph }: Wiring, value: Value): Value {
  return graph.node("Cast", [value], { to: 1 });
}

export function layerNorm({ graph, has }: Wiring, input: Value, name: string, width: number, epsilon = 1e-5): Value {
  const inputs = [input, graph.weight(`${name}.weight`, [width])];
  if (has(`${name}.bias`)) inputs.push(graph.weight(`${name}.bias`, [width]));
  return graph.node("LayerNormalization", inputs, { axis: -1, epsilon: { float: epsilon } });
}

export function activation({ graph }: Wiring, input: Value, kind: "gelu" | "quick_gelu"): Value {
  return kind === "gelu"
    ? graph.node("Gelu", [input], { approximate: "none" })
    : graph.node("QuickGelu", [input], { alpha: { float: 1.702 } }, "com.microsoft");
}

/** up → activation → down, as every feed-forward here is. */
export function feedForward(
  wiring: Wiring,
  input: Value,
  name: string,
  sizes: { readonly width: number; readonly inner: number; readonly kind: "gelu" | "quick_gelu" },
): Value {
  const raised = linear(wiring, input, `${name}.up`, sizes.inner, sizes.width);
  return linear(wiring, activation(wiring, raised, sizes.kind), `${name}.down`, sizes.width, sizes.inner);
}

/** Attention without mask or position: query (batch, queries, heads · d), key and value (batch, keys, heads · d) → (batch, queries, heads · d). */
export function plainAttention(wiring: Wiring, query: Value, key: Value, values: Value, heads: number, width: number): Value {
  const { graph, attention } = wiring;
  if (attention === "fused") return graph.node("MultiHeadAttention", [query, key, values], { num_heads: heads }, "com.microsoft");
  const split = (value: Value, order: readonly number[]): Value =>
    transpose(wiring, reshape(wiring, value, [0, 0, heads, width / heads]), order);
  const scaled = multiply(wiring, split(query, [0, 2, 1, 3]), graph.float((width / heads) ** -0.5)); // (batch, heads, queries, d)
  const weights = softmax(wiring, matrixProduct(wiring, scaled, split(key, [0, 2, 3, 1]))); // (batch, heads, queries, keys)
  const mixed = matrixProduct(wiring, weights, split(values, [0, 2, 1, 3])); // (batch, heads, queries, d)
  return reshape(wiring, transpose(wiring, mixed, [0, 2, 1, 3]), [0, 0, width]);
}
