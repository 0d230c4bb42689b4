/**
 * Builds one ONNX graph, node by node. Owns names, constants and the layout of the external weights; refuses to know a model: that is graph/'s.
 * Activations are 2-D (tokens, width) wherever a product with a weight is taken, so that `linear` is one Gemm over PyTorch's [out, in] layout
 * and a tied embedding can be looked up and multiplied with as one tensor.
 */
import type {
  Attribute,
  Axis,
  ConstantDeclaration,
  ElementType,
  GraphDeclaration,
  NodeDeclaration,
  PortDeclaration,
  WeightDeclaration,
} from "./model-file.ts";
import { packedTensor, type WeightForm } from "./weight-form.ts";

/** What an input, a constant, a weight or a node's output is called in the graph. */
export type Value = string & { readonly brand: "value" };

export interface GraphBuilder {
  input(name: string, type: ElementType, shape: readonly Axis[]): Value;
  output(name: string, value: Value, type: ElementType, shape: readonly Axis[]): void;
  /** A canonical tensor in a form (default: float32, as it is), laid out in the order of first use; later uses share it. */
  weight(name: string, shape: readonly number[], form?: WeightForm): Value;
  integers(values: readonly number[]): Value;
  integer(value: number): Value;
  /** For sums that a device takes: it has no 64-bit integers. */
  shortIntegers(values: readonly number[], shape: readonly number[]): Value;
  floats(values: readonly number[], shape: readonly number[]): Value;
  float(value: number): Value;
  byte(value: number): Value;
  node(operator: string, inputs: readonly (Value | null)[], attributes?: Readonly<Record<string, Attribute>>, domain?: string): Value;
  /** Cuts an axis into parts as long as `lengths` says (int64, 1-D). */
  split(value: Value, lengths: Value, count: number, axis: number): Value[];
  finish(): GraphDeclaration;
}

/** Multiple of every weight's offset: what a vector register wants. */
const alignmentBytes = 64;

export function createGraph(name: string): GraphBuilder {
  const inputs: PortDeclaration[] = [];
  const outputs: PortDeclaration[] = [];
  const nodes: NodeDeclaration[] = [];
  const constants = new Map<string, ConstantDeclaration>();
  const weights = new Map<string, WeightDeclaration>();
  let nextOffset = 0;
  let nextName = 0;
  const fresh = (): Value => value(`v${nextName++}`);

  const constant = (type: ConstantDeclaration["type"], shape: readonly number[], values: readonly number[]): Value => {
    const key = `${type}[${shape.join()}]${values.join()}`;
    const known = constants.get(key);
    if (known !== undefined) return value(known.name);
    const declared = { name: `c${constants.size}`, type, shape, values };
    constants.set(key, declared);
    return value(declared.name);
  };

  return {
    input: (port, type, shape) => {
      inputs.push({ name: port, type, shape });
      return value(port);
    },
    output: (port, source, type, shape) => {
      nodes.push({ operator: "Identity", domain: "", inputs: [source], outputs: [port], attributes: {} });
      outputs.push({ name: port, type, shape });
    },
    weight: (tensor, tensorShape, form = "float32") => {
      const weight = form === "float32" ? tensor : `${tensor}:${form}`;
      if (!weights.has(weight)) {
        const packed = packedTensor(form, tensorShape);
        weights.set(weight, { name: weight, tensor, tensorShape, form, ...packed, offsetBytes: nextOffset });
        nextOffset = Math.ceil((nextOffset + packed.sizeBytes) / alignmentBytes) * alignmentBytes;
      }
      return value(weight);
    },
    integers: (values) => constant("int64", [values.length], values),
    integer: (single) => constant("int64", [], [single]),
    shortIntegers: (values, shape) => constant("int32", shape, values),
    floats: (values, shape) => constant("float32", shape, values),
    float: (single) => constant("float32", [], [single]),
    byte: (single) => constant("uint8", [], [single]),
    node: (operator, sources, attributes = {}, domain = "") => {
      const result = fresh();
      nodes.push({ operator, domain, inputs: sources.map((source) => source ?? ""), outputs: [result], attributes });
      return result;
    },
    split: (source, lengths, count, axis) => {
      const results = Array.from({ length: count }, fresh);
      nodes.push({ operator: "Split", domain: "", inputs: [source, lengths], outputs: results, attributes: { axis } });
      return results;
    },
    finish: () => ({ name, inputs, outputs, nodes, constants: [...constants.values()], weights: [...weights.values()] }),
  };
}

function value(name: string): Value {
  // The brand exists for the compiler only: a plain string can't be wired into a node by accident.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return name as Value;
}
