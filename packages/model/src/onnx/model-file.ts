/**
 * An ONNX model as bytes. Owns the field numbers of onnx.proto (IR version 10) that we use; refuses weights inside the file: they are external data,
 * so that a file stays small, weights stay mappable and nothing meets protobuf's 2 GB.
 */
import { encodeMessage, type MessageWriter } from "./protobuf.ts";
import type { WeightForm } from "./weight-form.ts";

export type ElementType = "float32" | "int32" | "int64" | "bool" | "int8" | "uint8";

/** A named axis is dynamic. */
export type Axis = number | string;

export interface PortDeclaration {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly Axis[];
}

export type Attribute = number | { readonly float: number } | string | readonly number[];

export interface NodeDeclaration {
  readonly operator: string;
  /** "" for ai.onnx. */
  readonly domain: string;
  /** "" for an optional input that isn't given. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

export interface ConstantDeclaration {
  readonly name: string;
  readonly type: "float32" | "int32" | "int64" | "uint8";
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

export interface WeightDeclaration {
  readonly name: string;
  /** The canonical tensor that its bytes are made of, and that tensor's shape. */
  readonly tensor: string;
  readonly tensorShape: readonly number[];
  readonly form: WeightForm;
  /** As the graph sees it, in its form. */
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

export interface GraphDeclaration {
  readonly name: string;
  readonly inputs: readonly PortDeclaration[];
  readonly outputs: readonly PortDeclaration[];
  readonly nodes: readonly NodeDeclaration[];
  readonly constants: readonly ConstantDeclaration[];
  /** In the file `weightsFile` beside the model. */
  readonly weights: readonly WeightDeclaration[];
}

const elementTypes: Readonly<Record<ElementType, number>> = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 };
const attributeTypes = { float: 1, integer: 2, text: 3, integers: 7 } as const;
const externalDataLocation = 1;

export function encodeModel(graph: GraphDeclaration, weightsFile: string): Uint8Array {
  return encodeMessage((model) => {
    model.integer(1, 10);
    model.text(2, "flamboyance");
    model.message(7, (message) => writeGraph(message, graph, weightsFile));
    for (const [domain, version] of [
      ["", 20],
      ["com.microsoft", 1],
    ] as const) {
      model.message(8, (opset) => {
        opset.text(1, domain);
        opset.integer(2, version);
      });
    }
  });
}

function writeGraph(message: MessageWriter, graph: GraphDeclaration, weightsFile: string): void {
  graph.nodes.forEach((node, index) => message.message(1, (inner) => writeNode(inner, node, index)));
  message.text(2, graph.name);
  for (const constant of graph.constants) message.message(5, (inner) => writeConstant(inner, constant));
  for (const weight of graph.weights) message.message(5, (inner) => writeWeight(inner, weight, weightsFile));
  for (const port of graph.inputs) message.message(11, (inner) => writePort(inner, port));
  for (const port of graph.outputs) message.message(12, (inner) => writePort(inner, port));
}

function writeNode(message: MessageWriter, node: NodeDeclaration, index: number): void {
  for (const name of node.inputs) message.text(1, name);
  for (const name of node.outputs) message.text(2, name);
  message.text(3, `${index}:${node.operator}`);
  message.text(4, node.operator);
  for (const [name, value] of Object.entries(node.attributes)) message.message(5, (inner) => writeAttribute(inner, name, value));
  if (node.domain !== "") message.text(7, node.domain);
}

function writeAttribute(message: MessageWriter, name: string, value: Attribute): void {
  message.text(1, name);
  if (typeof value === "number") {
    message.integer(3, value);
    message.integer(20, attributeTypes.integer);
  } else if (typeof value === "string") {
    message.text(4, value);
    message.integer(20, attributeTypes.text);
  } else if ("float" in value) {
    message.float(2, value.float);
    message.integer(20, attributeTypes.float);
  } else {
    for (const integer of value) message.integer(8, integer);
    message.integer(20, attributeTypes.integers);
  }
}

function writeConstant(message: MessageWriter, constant: ConstantDeclaration): void {
  writeTensorHead(message, constant.shape, constant.type);
  message.text(8, constant.name);
  message.bytes(9, rawValues(constant));
}

function writeWeight(message: MessageWriter, weight: WeightDeclaration, weightsFile: string): void {
  writeTensorHead(message, weight.shape, weight.type);
  message.text(8, weight.name);
  const entries = { location: weightsFile, offset: String(weight.offsetBytes), length: String(weight.sizeBytes) };
  for (const [key, value] of Object.entries(entries)) {
    message.message(13, (entry) => {
      entry.text(1, key);
      entry.text(2, value);
    });
  }
  message.integer(14, externalDataLocation);
}

function writeTensorHead(message: MessageWriter, shape: readonly number[], type: ElementType): void {
  for (const length of shape) message.integer(1, length);
  message.integer(2, elementTypes[type]);
}

function writePort(message: MessageWriter, port: PortDeclaration): void {
  message.text(1, port.name);
  message.message(2, (type) =>
    type.message(1, (tensor) => {
      tensor.integer(1, elementTypes[port.type]);
      tensor.message(2, (shape) => {
        for (const axis of port.shape)
          shape.message(1, (dimension) => (typeof axis === "number" ? dimension.integer(1, axis) : dimension.text(2, axis)));
      });
    }),
  );
}

function rawValues({ type, values }: ConstantDeclaration): Uint8Array {
  switch (type) {
    case "uint8":
      return Uint8Array.from(values);
    case "float32":
      return new Uint8Array(Float32Array.from(values).buffer);
    case "int32":
      return new Uint8Array(Int32Array.from(values).buffer);
    case "int64":
      return new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  }
}
