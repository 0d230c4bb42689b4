/** The most memory that this process was resident with. Owns where the system tells it. */
import { readFile } from "node:fs/promises";

/** Linux counts it from the program's start (VmHWM); getrusage's maximum would begin with that of the process which started this one. */
export async function peakMemoryBytes(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8").catch(() => "");
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return 1024 * (kibibytes === undefined ? process.resourceUsage().maxRSS : Number(kibibytes));
}
