/** A dry run's report, from where its end says it lies. */
import { CodedError, dryRunReport, shownStatus, type DryRunReport } from "@flamboyance/contracts";
import { readJson } from "@flamboyance/storage";
import type { ApiContext } from "./context.ts";
import type { FoundBatch } from "./find-batch.ts";
import { readEnd } from "./stored-batch.ts";

/** Throws `not_found` for a batch that is no dry run, `conflict` for one without a report (yet). */
export async function readReport({ storage, bucket }: ApiContext, found: FoundBatch, signal: AbortSignal): Promise<DryRunReport> {
  const { id, dry_run: isDryRun } = found.kind === "record" ? found.record : found.request;
  if (isDryRun !== true) throw new CodedError("not_found", `${id} is no dry run, so it has no report.`, { param: "id" });
  const end = found.kind === "record" ? await readEnd(storage, bucket, id, signal) : found.end;
  const status = end?.status ?? (found.kind === "record" ? shownStatus(found.record.status) : "finalizing");
  if (end?.report === undefined) throw new CodedError("conflict", `${id} is ${status}: it has no report${end === null ? " yet" : ""}.`);
  const report = await readJson(storage, { bucket, key: end.report.key }, dryRunReport, signal);
  if (report === null) throw new CodedError("internal_error", `${id}: its report isn't in S3`);
  return report;
}
