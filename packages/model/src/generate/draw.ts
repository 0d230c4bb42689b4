/**
 * The numbers that sampling draws with. Owns one law: a number depends on the seed, the row's name, the sequence and the step, and on nothing that ran before
 * (a counter-based generator), so that company, order and retries don't matter.
 */
import { createHash } from "node:crypto";

/** From 0 up to, but not, 1; `step` counts the sequence's new tokens from 0. */
export type Draw = (sequence: number, step: number) => number;

export function seededDraw(seed: number, row: string): Draw {
  return (sequence, step) => {
    const digest = createHash("sha256")
      .update(JSON.stringify([seed, row, sequence, step]))
      .digest();
    return digest.readUIntBE(0, 6) / 2 ** 48;
  };
}
