/** A dry run's report: waited for, and on the screen. */
import type { Client } from "@flamboyance/client";
import type { Batch, DryRunReport } from "@flamboyance/contracts";
import { exitCodes, type ExitCode } from "./failure.ts";
import { formatBytes, formatDuration, oneLine } from "./table.ts";
import { print, type Terminal } from "./terminal.ts";
import { watchBatch } from "./watch.ts";

/** Ends as `notCompleted` where the batch would fail, or the dry run itself did. */
export async function showDryRun(
  client: Client,
  terminal: Terminal,
  { id }: Pick<Batch, "id">,
  { json }: { readonly json: boolean },
): Promise<ExitCode> {
  const { status } = await client.batches.wait(id, { signal: terminal.signal });
  // It says why.
  if (status !== "completed") return watchBatch(client, terminal, id, { json });
  const report = await client.batches.report(id, { signal: terminal.signal });
  await print(terminal.out, json ? `${JSON.stringify(report)}\n` : formatReport(report));
  return report.would_fail ? exitCodes.notCompleted : exitCodes.done;
}

const errorsOnScreen = 20;

export function formatReport({ items, refused, would_fail, errors, codes, sample, estimate }: DryRunReport): string {
  const byCode = Object.entries(codes).map(([code, count]) => `${count} ${code}`);
  const facts: [string, string | null][] = [
    ["lines", `${items} items${refused === 0 ? "" : `, ${refused} refused (${byCode.join(", ")})`}`],
    ["images", `${sample.found} of ${sample.images} looked for are there, ${sample.decoded} were decoded`],
    ["bytes", estimate.image_bytes === null ? null : `about ${formatBytes(estimate.image_bytes)} in all`],
    [
      "time",
      estimate.seconds === null || estimate.items_per_second === null
        ? "unknown: no worker has run this model lately"
        : `about ${formatDuration(estimate.seconds)}, at ${estimate.items_per_second.toPrecision(3)} items a second`,
    ],
    ["so", would_fail ? "it would fail over its refused lines (--on-invalid skip runs the rest)" : "it would run"],
  ];
  const lines = facts.flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(8)}${value}`]));
  for (const { code, message, param, line } of errors.slice(0, errorsOnScreen))
    lines.push(`  ${line === null ? "" : `line ${line}: `}${param === null ? "" : `${param}: `}${oneLine(message)} (${code})`);
  if (refused > errorsOnScreen) lines.push(`  and ${refused - Math.min(errorsOnScreen, errors.length)} more (--json shows up to 1,000)`);
  for (const { custom_id, code, message } of sample.problems) lines.push(`  ${oneLine(custom_id)}: ${oneLine(message)} (${code})`);
  return `${lines.join("\n")}\n`;
}
