/** Result lines as CSV (RFC 4180), UTF-8. Absent is an empty cell, an empty text "": a reader that looks can tell them apart. */
import type { ResultLine } from "@flamboyance/contracts";
import { resultColumns, type Cell } from "./result-row.ts";

export const csvHeader = rowOf(resultColumns.map(({ name }) => name));

export function csvRow(line: ResultLine): string {
  return rowOf(resultColumns.map(({ cell }) => cell(line)));
}

function rowOf(cells: readonly Cell[]): string {
  return `${cells.map(cellText).join(",")}\r\n`;
}

function cellText(cell: Cell): string {
  if (cell === null) return "";
  const text = String(cell);
  return text === "" || /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}
