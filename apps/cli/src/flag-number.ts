/** Numbers of the command line, each with the kind that its flag takes. Refuses to judge them further: the schema of contracts does. */
import { InvalidArgumentError } from "commander";

export function atLeastOne(text: string): number {
  const number = wholeNumber(text);
  if (number === 0) throw new InvalidArgumentError("at least 1 is needed.");
  return number;
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("a whole number is needed.");
  return Number(text);
}

const byteUnits = { "": 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

/** `500GB`, `2TiB`, or just bytes; at least one. */
export function bytes(text: string): number {
  const found = /^(?<count>\d{1,15})(?<unit>|kB|[KMGT]i?B)$/.exec(text)?.groups;
  const unit = Object.entries(byteUnits).find(([name]) => name === found?.["unit"])?.[1];
  const count = Number(found?.["count"]) * (unit ?? Number.NaN);
  if (!Number.isSafeInteger(count)) throw new InvalidArgumentError("a number of bytes is needed, as 500GB or 2TiB.");
  if (count === 0) throw new InvalidArgumentError("at least 1 is needed.");
  return count;
}

export function integer(text: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw new InvalidArgumentError("a whole number is needed.");
  return Number(text);
}

export function decimal(text: string): number {
  if (!/^-?\d{1,9}(\.\d{1,9})?$/.test(text)) throw new InvalidArgumentError("a number is needed, as 0.8.");
  return Number(text);
}

/** A whole number, or a share as it stands, `5%`. */
export function numberOrShare(text: string): number | string {
  if (text.endsWith("%")) return text;
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("a whole number or a share is needed, as 5%.");
  return Number(text);
}
