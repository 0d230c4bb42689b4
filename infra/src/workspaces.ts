/** The repository's workspaces: where each lies, and what it takes to run it without its development dependencies. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { root } from "./root.ts";

const names = z.record(z.string(), z.string());
const packageFile = z.object({ name: z.string(), dependencies: names.default({}), workspaces: z.array(z.string()).default([]) });
const readPackage = (folder: string) => packageFile.parse(JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")));

/** Folder by name. */
export function workspaces(): Map<string, string> {
  const patterns = readPackage(".").workspaces.map((pattern) => `${pattern}/package.json`);
  const folders = globSync(patterns, { cwd: root }).map((file) => dirname(file));
  return new Map(folders.map((folder) => [readPackage(folder).name, folder]));
}

/** The workspaces that a workspace needs to run, itself among them, and the third parties' packages that these name. */
export function neededToRun(name: string): { readonly own: readonly string[]; readonly others: readonly string[] } {
  const folders = workspaces();
  const own = new Set([name]);
  const others = new Set<string>();
  // The set grows while it is walked.
  for (const one of own) {
    for (const dependency of Object.keys(readPackage(folders.get(one) ?? one).dependencies)) {
      (folders.has(dependency) ? own : others).add(dependency);
    }
  }
  return { own: [...own], others: [...others] };
}
