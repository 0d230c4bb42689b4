/** What the processes say of themselves in /metrics, and the machine's name above each table. Owns the reading of both. */
import { availableParallelism, cpus } from "node:os";

export const machine = `${cpus()[0]?.model.trim() ?? "unknown processor"}, ${availableParallelism()} cores, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`;

export async function readMetrics(url: string): Promise<string> {
  return (await fetch(`${url}/metrics`)).text();
}

/** Of all of the process's threads, so far. */
export const processorSeconds = (metrics: string): number => figure(metrics, "process_cpu_seconds_total");

export const residentBytes = (metrics: string): number => figure(metrics, "process_resident_memory_bytes");

function figure(metrics: string, name: string): number {
  return Number(new RegExp(String.raw`^${name} (\S+)$`, "m").exec(metrics)?.[1] ?? NaN);
}

/** How often each stage of the pipe ran, and for how long altogether. */
export function stages(metrics: string): { readonly stage: string; readonly times: number; readonly seconds: number }[] {
  const figures = (name: string) => {
    const lines = metrics.matchAll(new RegExp(String.raw`^flamboyance_stage_seconds_${name}\{stage="(\w+)"\} (\S+)$`, "gm"));
    return new Map([...lines].map((match) => [match[1] ?? "", Number(match[2])]));
  };
  const counts = figures("count");
  return [...figures("sum")].map(([stage, seconds]) => ({ stage, times: counts.get(stage) ?? 0, seconds }));
}

export function print(...lines: readonly string[]): void {
  process.stdout.write(`${lines.join("\n")}\n`);
}

export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
