/** A pickle's bytes, read forwards only: numbers, texts and lines. Owns their forms; a read past the end is a RangeError. */
import type { Pickled } from "./pickled.ts";

/** The bytes of a pickle, read forwards only. Reads past the end throw a RangeError. */
export class PickleInput {
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

export function textInteger(text: string, booleans: boolean): Pickled {
  if (booleans && (text === "00" || text === "01")) return text === "01";
  return safeInteger(BigInt(text));
}

export function littleInteger(bytes: Uint8Array): Pickled {
  let value = 0n;
  for (let index = bytes.length - 1; index >= 0; index -= 1) value = (value << 8n) | BigInt(bytes[index] ?? 0);
  return safeInteger(BigInt.asIntN(Math.max(1, bytes.length) * 8, value));
}

function safeInteger(value: bigint): Pickled {
  return BigInt.asIntN(54, value) === value ? Number(value) : value;
}
