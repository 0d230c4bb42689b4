/** The three wire forms of protobuf that an ONNX model needs. Owns bytes; refuses any meaning of a field. Source: protobuf.dev/programming-guides/encoding. */

/** One message being written; fields come out in the order of the calls. */
export interface MessageWriter {
  /** Varint: integers, enums, booleans; negative numbers as 64-bit two's complement. */
  integer(field: number, value: number | bigint): void;
  float(field: number, value: number): void;
  text(field: number, value: string): void;
  bytes(field: number, value: Uint8Array): void;
  message(field: number, write: (message: MessageWriter) => void): void;
}

export function encodeMessage(write: (message: MessageWriter) => void): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer: MessageWriter = {
    integer: (field, value) => parts.push(varint(BigInt(field) << 3n), varint(BigInt.asUintN(64, BigInt(value)))),
    float: (field, value) => {
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setFloat32(0, value, true);
      parts.push(varint((BigInt(field) << 3n) | 5n), bytes);
    },
    text: (field, value) => writer.bytes(field, new TextEncoder().encode(value)),
    bytes: (field, value) => parts.push(varint((BigInt(field) << 3n) | 2n), varint(BigInt(value.length)), value),
    message: (field, inner) => writer.bytes(field, encodeMessage(inner)),
  };
  write(writer);
  return Buffer.concat(parts);
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
