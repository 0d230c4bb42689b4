/**
 * Runs the steps of infra/Dockerfile in folders of this machine: what each stage would hold at its working directory.
 * COPY and npx's RUN lines are real. What `npm ci` would bring this checkout has, and it is linked: all of it, or with --omit=dev only what a workspace names.
 * A line that needs the image's own system (users, owners) is left to a real build.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, readdir, symlink } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { buildContext } from "./build-context.ts";
import { readStages, type CopyStep, type Stage } from "./dockerfile.ts";
import { root } from "./root.ts";
import { neededToRun, workspaces } from "./workspaces.ts";

const workingFolder = "/srv";

/** The one line that installs what a workspace needs to run. */
const productionInstall = /^npm pkg delete devDependencies --workspace (\S+) && npm ci --omit=dev --workspace \1$/;

export interface ImageFolder {
  readonly stage: Stage;
  readonly folder: string;
}

/** Makes the folder of a stage and of all that it is made from; `made` remembers them, so that a shared stage runs once. */
export async function makeImageFolder(
  name: string,
  parent: string,
  made: Map<string, Promise<ImageFolder>> = new Map(),
): Promise<ImageFolder> {
  const begun = made.get(name) ?? makeOne(name, parent, made);
  made.set(name, begun);
  return begun;
}

async function makeOne(name: string, parent: string, made: Map<string, Promise<ImageFolder>>): Promise<ImageFolder> {
  const stages = readStages();
  const stage = stages.find((candidate) => candidate.name === name);
  if (stage === undefined) throw new Error(`infra/Dockerfile has no stage ${name}`);
  const folder = join(parent, name);
  await mkdir(folder, { recursive: true });
  if (stages.some((candidate) => candidate.name === stage.base)) {
    const base = await makeImageFolder(stage.base, parent, made);
    await copyFolder(base.folder, folder);
  }
  for (const step of stage.steps) {
    if (step.kind === "copy") {
      const from = step.from === null ? null : (await makeImageFolder(step.from, parent, made)).folder;
      await copy(step, from, folder);
    }
    if (step.kind === "run") await run(step.command, folder);
  }
  return { stage, folder };
}

async function copy(step: CopyStep, stageFolder: string | null, folder: string): Promise<void> {
  for (const source of step.sources) {
    if (stageFolder !== null) {
      const inside = join(stageFolder, source.slice(workingFolder.length));
      await copyFolder(inside, resolve(folder, step.target));
    } else {
      const files = buildContext().filter((file) => file === source || file.startsWith(`${source}/`));
      // As docker does: one file into a folder keeps its name; a folder's content lands in the target.
      const place = (file: string) =>
        file === source ? join(step.target, basename(file)) : join(step.target, file.slice(source.length + 1));
      for (const file of files) await cp(join(root, file), resolve(folder, place(file)));
    }
  }
}

const copyFolder = (from: string, to: string) => cp(from, to, { recursive: true, verbatimSymlinks: true });

async function run(command: string, folder: string): Promise<void> {
  const workspace = productionInstall.exec(command)?.[1];
  if (command === "npm ci") {
    await linkModules(folder, [...workspaces().keys()], await readdir(join(root, "node_modules")));
  } else if (workspace !== undefined) {
    const { own, others } = neededToRun(workspace);
    await linkModules(folder, own, others);
  } else if (command.startsWith("npx ")) {
    const environment = { PATH: process.env["PATH"], HOME: process.env["HOME"] };
    await promisify(execFile)("sh", ["-c", command], { cwd: folder, env: environment, maxBuffer: 16 * 1024 * 1024 });
  } else if (!/^(mkdir|chown) /.test(command)) {
    throw new Error(`infra/Dockerfile runs what isn't known here: ${command}`);
  }
}

/** node_modules as npm leaves it: third parties' packages, and links to the workspaces of this folder. */
async function linkModules(folder: string, own: readonly string[], others: readonly string[]): Promise<void> {
  const link = async (name: string, target: (place: string) => string) => {
    const place = join(folder, "node_modules", name);
    await mkdir(dirname(place), { recursive: true });
    await symlink(target(place), place);
  };
  const folders = workspaces();
  for (const name of others) if (!name.startsWith("@flamboyance")) await link(name, () => join(root, "node_modules", name));
  // Relative, as npm's: copied into the next stage they point into that.
  for (const name of own) await link(name, (place) => relative(dirname(place), join(folder, folders.get(name) ?? name)));
}
