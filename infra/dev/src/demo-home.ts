/**
 * Where a demo's data lies: `demo/` below its parent, emptied, and kept until the next demo; beside a demo that is still up, whose data that is, a folder of its own that goes at the end.
 * Owns who has which: the owner's process id stands in the folder. Refuses to touch what a living process has.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface DemoHome {
  readonly home: string;
  /** What is written here is there after the end. */
  readonly stays: boolean;
  [Symbol.asyncDispose](): Promise<void>;
}

const ownerFile = "owner.pid";

export async function takeHome(parent: string, pid = process.pid): Promise<DemoHome> {
  await removeOrphans(parent);
  const usual = join(parent, "demo");
  const stays = !(await isOwned(usual));
  const home = stays ? usual : join(parent, `demo-${pid}`);
  await rm(home, { recursive: true, force: true });
  await mkdir(home, { recursive: true });
  await writeFile(join(home, ownerFile), String(pid));
  return {
    home,
    stays,
    [Symbol.asyncDispose]: () => (stays ? rm(join(home, ownerFile), { force: true }) : rm(home, { recursive: true, force: true })),
  };
}

/** Folders of second demos that were killed before they could take theirs away. */
async function removeOrphans(parent: string): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    const owner = /^demo-(\d+)$/.exec(name)?.[1];
    if (owner !== undefined && !isAlive(Number(owner))) await rm(join(parent, name), { recursive: true, force: true });
  }
}

async function isOwned(home: string): Promise<boolean> {
  return isAlive(Number(await readFile(join(home, ownerFile), "utf8").catch(() => "0")));
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Another user's lives all the same.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
