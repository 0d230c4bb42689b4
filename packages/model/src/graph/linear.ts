/**
 * Products with weights, and the lookup of their rows, in each precision. Owns how a rounded product is spelled in operators; refuses to choose the
 * precision, which the graph's wiring carries.
 *
 * int8 rounds each row of the input by a scale of its own, so that a row's result is the same in any company, which one scale for the whole tensor
 * (DynamicQuantizeMatMul) isn't. The scale goes in by a division, for QuantizeLinear takes a constant one; the sums are exact integers.
 */
import { blockLength } from "../onnx/weight-form.ts";
import type { Value } from "../onnx/graph-builder.ts";
import type { Wiring } from "./layers.ts";

/** x · Wᵀ + b with W as PyTorch stores it, (out, in); x is (tokens, in). The bias is taken where the model has one. */
export function linear(wiring: Wiring, input: Value, name: string, outWidth: number, inWidth: number): Value {
  const { graph, has } = wiring;
  const bias = has(`${name}.bias`) ? graph.weight(`${name}.bias`, [outWidth]) : null;
  const product = productWith(wiring, input, `${name}.weight`, [outWidth, inWidth], bias); // (tokens, out)
  return bias === null || wiring.products === "float32" ? product : graph.node("Add", [product, bias]);
}

/** x · Wᵀ for the vocabulary: 8 bits also where the layers have 4, for here an error goes straight into the logits. */
export function headProduct(wiring: Wiring, input: Value, tensor: string, shape: readonly [outWidth: number, inWidth: number]): Value {
  return productWith({ ...wiring, products: wiring.products === "float32" ? "float32" : "int8" }, input, tensor, shape, null);
}

/** Rows of a weight (out, in) by their numbers: (tokens) → (tokens, in). */
export function lookUp(
  { graph, products }: Wiring,
  numbers: Value,
  tensor: string,
  shape: readonly [outWidth: number, inWidth: number],
): Value {
  const gather = (source: Value): Value => graph.node("Gather", [source, numbers], { axis: 0 });
  if (products === "float32") return gather(graph.weight(tensor, shape));
  const scale = graph.node("Unsqueeze", [gather(graph.weight(tensor, shape, "int8_scale")), graph.integers([-1])]); // (tokens, 1)
  const levels = graph.node("Cast", [gather(graph.weight(tensor, shape, "int8_rows"))], { to: 1 }); // (tokens, in)
  return graph.node("Mul", [levels, scale]);
}

function productWith(
  { graph, products }: Wiring,
  input: Value,
  tensor: string,
  shape: readonly [outWidth: number, inWidth: number],
  bias: Value | null,
): Value {
  const [outWidth, inWidth] = shape;
  switch (products) {
    case "float32":
      return graph.node("Gemm", [input, graph.weight(tensor, shape), ...(bias === null ? [] : [bias])], { transB: 1 });
    case "int8": {
      // The largest number of each row becomes 127; a row of zeros stays one.
      const most = graph.node("ReduceMax", [graph.node("Abs", [input]), graph.integers([-1])], { keepdims: 1 });
      const range = graph.node("Max", [most, graph.float(1e-30)]); // (tokens, 1)
      const step = graph.float(1 / 127);
      const zero = graph.byte(128);
      const levels = graph.node("QuantizeLinear", [graph.node("Div", [input, range]), step, zero]); // (tokens, in) uint8
      const weight = graph.weight(tensor, shape, "int8_columns");
      const scale = graph.weight(tensor, shape, "int8_scale");
      return graph.node("Mul", [graph.node("MatMulIntegerToFloat", [levels, weight, step, scale, zero], {}, "com.microsoft"), range]);
    }
    case "int4": {
      const sources = [input, graph.weight(tensor, shape, "int4_blocks"), graph.weight(tensor, shape, "int4_scale")];
      // Accuracy level 4: the rows are rounded to 8 bits, block by block.
      const attributes = { K: inWidth, N: outWidth, bits: 4, block_size: blockLength, accuracy_level: 4 };
      return graph.node("MatMulNBits", sources, attributes, "com.microsoft");
    }
  }
}
