/**
 * `npm run fuzz -- --cases 2000 --seed 1`: random rows on the five reference models, alone and in random company, and whether each answers the same.
 * The program's entry: owns flags, the progress line and the exit status.
 */
import { parseArgs } from "node:util";
import { fuzzReference } from "./references.ts";
import { addReports, decidingMargin, type Finding, type FuzzReport } from "./run.ts";

const help = `npm run fuzz -- [options]

Random prompts, shots, beams, sampling, stop strings and rankings, on the models of packages/model/reference. Each row runs alone and then among
others that come, go and are given up at random steps; its tokens must be the same.

  --cases <n>    how many rows (2000)
  --seed <n>     other rows for another number (1)
  --help         prints this

Exits with 0 if nothing but cases below the deciding margin (${decidingMargin}) differs, 1 if something does, 2 if a flag is wrong.`;

const models = ["mpt-qk-norm", "mpt", "neox-sequential", "neox-parallel", "video"];

process.exitCode = await main();

async function main(): Promise<number> {
  const flags = readFlags();
  if (typeof flags === "string") {
    console.error(flags);
    return 2;
  }
  if (flags.help) {
    console.log(help);
    return 0;
  }
  const { cases, seed } = flags;
  const started = performance.now();
  const reports: FuzzReport[] = [];
  for (const [index, name] of models.entries()) {
    const from = Math.floor((cases * index) / models.length);
    const count = Math.floor((cases * (index + 1)) / models.length) - from;
    if (count === 0) continue;
    await fuzzReference(name, { seed, from, count }, (report) => {
      reports.push(report);
      const { cases: done, faults, closeDifferences } = reports.reduce(addReports);
      const seconds = Math.round((performance.now() - started) / 1_000);
      console.error(`${name}: ${done}/${cases} cases, ${faults.length + closeDifferences.length} differ, ${seconds} s`);
    });
  }
  const sum = reports.reduce(addReports);
  console.log(describe(sum, seed));
  return sum.faults.length === 0 ? 0 : 1;
}

function readFlags(): { readonly cases: number; readonly seed: number; readonly help: boolean } | string {
  try {
    const { values } = parseArgs({
      options: {
        cases: { type: "string", default: "2000" },
        seed: { type: "string", default: "1" },
        help: { type: "boolean", default: false },
      },
    });
    const cases = Number(values.cases);
    const seed = Number(values.seed);
    if (!Number.isSafeInteger(cases) || cases < 1) return "fuzz: --cases must be a positive integer";
    if (!Number.isSafeInteger(seed)) return "fuzz: --seed must be an integer";
    return { cases, seed, help: values.help };
  } catch (error) {
    return `fuzz: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function describe(report: FuzzReport, seed: number): string {
  const { kinds, closeDifferences, faults } = report;
  const table = [
    ["seed", seed],
    ["cases", report.cases],
    ["greedy", kinds.greedy],
    ["beams", kinds.beams],
    ["sampled", kinds.sampled],
    ["ranked", kinds.ranked],
    ["given up before their end", report.givenUp],
    [`margin below ${decidingMargin}`, report.close],
    ["of those, differing", closeDifferences.length],
    ["differing at a margin above it", faults.length],
    ["smallest margin", report.smallestMargin.toExponential(1)],
    ["largest drift of a log-probability", report.largestDrift.toExponential(1)],
  ];
  const rows = table.map(([name, figure]) => `| ${String(name).padEnd(36)} | ${String(figure).padStart(9)} |`);
  return [
    `| ${"".padEnd(36)} | ${"".padStart(9)} |`,
    `| ${"-".repeat(36)} | ${"-".repeat(8)}: |`,
    ...rows,
    ...closeDifferences.map((finding) => `below the margin: ${tell(finding)}`),
    ...faults.map((finding) => `DIFFERS: ${tell(finding)}`),
  ].join("\n");
}

function tell({ id, margin, alone, inCompany }: Finding): string {
  return `${id} (margin ${margin.toExponential(1)}): alone ${alone}, in company ${inCompany}`;
}
