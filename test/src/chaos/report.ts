/** What the rounds came to: kept line by line, so that a run that was broken off goes on, and told as a table by fault. Owns the last line. */
import { appendFile, readFile } from "node:fs/promises";
import type { Broken } from "./check-batch.ts";

export interface RoundLine {
  readonly round: number;
  readonly status: string | null;
  readonly wish: string;
  /** What came of asking for a retry: its end, or the refusal's code. Null where none was asked for, absent in rounds of before there were retries. */
  readonly retry?: string | null;
  readonly planned: readonly string[];
  readonly met: readonly string[];
  readonly broken: readonly Broken[];
  readonly again: number;
  readonly ms: number;
}

export interface Ledger {
  readonly lines: readonly RoundLine[];
  add(line: RoundLine): Promise<void>;
}

/** Takes up the lines of the same seed that the file holds. */
export async function openLedger(file: string | null, seed: number): Promise<Ledger> {
  const lines: RoundLine[] = [];
  if (file !== null) {
    const text = await readFile(file, "utf8").catch(() => "");
    for (const line of text.split("\n").filter((each) => each !== "")) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by `add` below
      const kept = JSON.parse(line) as RoundLine & { readonly seed: number };
      if (kept.seed === seed) lines.push(kept);
    }
  }
  return {
    lines,
    add: async (line) => {
      lines.push(line);
      if (file !== null) await appendFile(file, `${JSON.stringify({ seed, ...line })}\n`);
    },
  };
}

export function table(lines: readonly RoundLine[]): string {
  const kinds = [...new Set(lines.flatMap(({ planned }) => planned))].toSorted();
  const count = (law: Broken["law"], of: readonly RoundLine[]): number =>
    of.flatMap(({ broken }) => broken).filter((each) => each.law === law).length;
  const row = (name: string, of: readonly RoundLine[], planned: number | string, met: number | string): string =>
    `| ${[name, of.length, planned, met, count("lost", of), count("doubled", of), count("stuck", of), count("wrong", of)].join(" | ")} |`;
  const times = (all: readonly string[], kind: string): number => all.filter((each) => each === kind).length;
  const sum = (of: (line: RoundLine) => number): number => lines.reduce((total, line) => total + of(line), 0);
  const retried = lines.filter(({ retry }) => typeof retry === "string");
  const wishes = [...new Set(lines.map(({ wish }) => wish))].toSorted();
  return [
    "| fault | rounds | planned | came | lost | doubled | stuck | wrong |",
    "|---|---|---|---|---|---|---|---|",
    ...kinds.map((kind) => {
      const of = lines.filter(({ met }) => met.includes(kind));
      return row(
        kind,
        of,
        sum(({ planned }) => times(planned, kind)),
        sum(({ met }) => times(met, kind)),
      );
    }),
    ...wishes.map((wish) =>
      row(
        `wish: ${wish}`,
        lines.filter((line) => line.wish === wish),
        "",
        "",
      ),
    ),
    ...(retried.length === 0 ? [] : [row("wish: retry", retried, "", "")]),
    "",
    `ended as: ${counted(lines.map(({ status }) => status ?? "nothing"))}`,
    ...(retried.length === 0 ? [] : [`retries: ${counted(retried.map(({ retry }) => retry ?? "nothing"))}`]),
    `items that ran again: ${sum(({ again }) => again)}; seconds a round: ${(sum(({ ms }) => ms) / 1_000 / Math.max(1, lines.length)).toFixed(1)}`,
    ...(count("wrong", lines) === 0 ? [] : [`wrong otherwise: ${count("wrong", lines)}`]),
    `rounds ${lines.length}: lost ${count("lost", lines)}, doubled ${count("doubled", lines)}, stuck ${count("stuck", lines)}`,
  ].join("\n");
}

function counted(all: readonly string[]): string {
  const each = [...new Set(all)].toSorted();
  return each.map((one) => `${one} ${all.filter((other) => other === one).length}`).join(", ");
}
