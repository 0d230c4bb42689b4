/** Results of a batch: as JSON lines, as a table, or into a file that stands whole or not at all. */
import { open, rename, rm } from "node:fs/promises";
import type { Client } from "@flamboyance/client";
import { isEnded, type ResultLine } from "@flamboyance/contracts";
import { Detached, UsageError } from "./failure.ts";
import { formatTable, oneLine } from "./table.ts";
import { print, type Terminal } from "./terminal.ts";

export interface ResultsFlags {
  readonly status?: "completed" | "failed";
  readonly follow: boolean;
  readonly lineage: boolean;
  readonly table: boolean;
  readonly output?: string;
}

export async function showResults(client: Client, terminal: Terminal, id: string, flags: ResultsFlags): Promise<void> {
  const { signal, out } = terminal;
  if (flags.table && flags.output !== undefined) throw new UsageError("--table is for the screen; --output writes JSON lines");
  if (flags.follow && flags.lineage) throw new UsageError("--lineage reads what has ended: there is nothing to --follow");
  const lines = client.batches.results(id, {
    follow: flags.follow,
    lineage: flags.lineage,
    signal,
    ...(flags.status === undefined ? {} : { status: flags.status }),
  });
  try {
    if (flags.output !== undefined) await writeFile(flags.output, lines, terminal);
    else if (flags.table) await printTable(lines, terminal);
    else for await (const line of lines) await print(out, `${JSON.stringify(line)}\n`);
    await sayWhatIsMissing(client, terminal, id);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Detached(flags.output === undefined ? "Stopped." : `Stopped; ${flags.output} wasn't written.`);
  }
}

/** A batch that goes on has further lines; one whose plan was refused has none, and silence would look like a batch without results. */
async function sayWhatIsMissing(client: Client, { signal, err }: Terminal, id: string): Promise<void> {
  const { status, errors, request_counts } = await client.batches.get(id, { signal });
  const [first] = errors?.data ?? [];
  if (first !== undefined && request_counts.total === 0) {
    const place = first.line === null ? "" : `line ${first.line}: `;
    await print(err, `${id} failed and has no results: ${place}${first.message} (${first.code})\n`);
  } else if (!isEnded(status))
    await print(err, `${id} is ${status}: these are the lines that it has so far; --follow waits for the others\n`);
}

/** Beside its place first, then renamed there: nobody finds half a file. */
async function writeFile(path: string, lines: AsyncIterable<ResultLine>, { err }: Terminal): Promise<void> {
  const beside = `${path}.${process.pid}.part`;
  let count = 0;
  try {
    const file = await open(beside, "w");
    try {
      for await (const line of lines) {
        await file.write(`${JSON.stringify(line)}\n`);
        count += 1;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw isFileError(error) ? new UsageError(`${path} can't be written: ${error.message}`) : error;
  }
  await print(err, `${count} lines written to ${path}\n`);
}

const tableRows = 200;

/** In blocks, each with widths of its own: a following table can't wait for the last line. */
async function printTable(lines: AsyncIterable<ResultLine>, { out }: Terminal): Promise<void> {
  const show = async (rows: readonly (readonly string[])[]) =>
    print(out, formatTable(["item", "answer"], rows, out.isTTY === true ? out.columns : undefined));
  let rows: string[][] = [];
  for await (const line of lines) {
    rows.push([line.custom_id ?? `line ${line.error?.line ?? "?"}`, answerOf(line)]);
    if (rows.length < tableRows) continue;
    await show(rows);
    rows = [];
  }
  if (rows.length > 0) await show(rows);
}

/** The text, or why there is none. */
export function answerOf({ response, error }: ResultLine): string {
  if (response === null) return error === null ? "–" : `✗ ${error.code}: ${oneLine(error.message)}`;
  if ("error" in response.body) return `✗ ${response.body.error.code ?? response.status_code}: ${oneLine(response.body.error.message)}`;
  return oneLine(response.body.choices[0]?.message.content ?? "");
}

function isFileError(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error && "path" in error;
}
