/** What parity hands out: the table, and the dump in the references' own form. Owns how numbers are written; refuses judging. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Comparison } from "./compare.ts";
import type { Actual } from "./compute.ts";
import type { NamedTensor } from "./reference.ts";

/** A Markdown table, one line per reference and quantity. */
export function writeTable(results: readonly { readonly reference: string; readonly comparisons: readonly Comparison[] }[]): string {
  const lines = results.flatMap(({ reference, comparisons }) =>
    comparisons.map(({ quantity, count, maxError, limit, verdict }) => [
      reference,
      quantity,
      String(count),
      maxError === null ? "" : maxError === 0 ? "0" : maxError.toExponential(1),
      limit,
      verdict,
    ]),
  );
  const head = ["reference", "quantity", "compared", "max error", "limit", "verdict"];
  const widths = head.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]?.length ?? 0)));
  const row = (cells: readonly string[]): string => `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  return [row(head), row(widths.map((width) => "-".repeat(width))), ...lines.map(row)].join("\n");
}

/** actual.json and actual.safetensors, in the same form and under the same names as expected.*. */
export async function writeDump(folder: string, actual: Actual): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "actual.json"), `${JSON.stringify(actual.json, null, 1)}\n`);
  await writeFile(join(folder, "actual.safetensors"), encodeSafetensors(actual.tensors));
}

function encodeSafetensors(tensors: ReadonlyMap<string, NamedTensor>): Uint8Array {
  const header: Record<string, { dtype: "F32"; shape: readonly number[]; data_offsets: readonly [number, number] }> = {};
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  const text = JSON.stringify(header);
  // The header is padded with spaces so that the numbers start at a multiple of eight.
  const headerBytes = new TextEncoder().encode(
    text.padEnd(Math.ceil(new TextEncoder().encode(text).length / 8) * 8 - (new TextEncoder().encode(text).length - text.length)),
  );
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(headerBytes.length), true);
  return Buffer.concat([length, headerBytes, ...parts]);
}
