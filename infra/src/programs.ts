/** Finds the programs that infra/install-tools.sh installs; a check whose program isn't here is skipped, and says so. */
import { execFile, execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";

const goFolders = [process.env["GOPATH"], join(homedir(), "go")]
  .filter((folder) => folder !== undefined)
  .map((folder) => join(folder, "bin"));

/** The program's path, or null with one line on stderr that names what is skipped. */
export function findProgram(name: string): string | null {
  for (const folder of [...(process.env["PATH"] ?? "").split(delimiter), ...goFolders]) {
    const file = join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  process.stderr.write(`skipped: ${name} isn't on this machine (infra/install-tools.sh installs it)\n`);
  return null;
}

/** Kustomize's words: itself, or kubectl's own. */
export function findKustomize(): readonly [string, ...string[]] | null {
  try {
    execFileSync("kubectl", ["kustomize", "--help"], { stdio: "ignore" });
    return ["kubectl", "kustomize"];
  } catch {
    const program = findProgram("kustomize");
    return program === null ? null : [program, "build"];
  }
}

export interface Answer {
  readonly code: number;
  /** Both outputs, one after the other. */
  readonly text: string;
}

/** Runs a program to its end; a failure is an answer too. */
export async function ask(
  program: string,
  words: readonly string[],
  options: { cwd?: string; input?: string; environment?: Readonly<Record<string, string>> } = {},
): Promise<Answer> {
  const running = promisify(execFile)(program, words, {
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, ...options.environment },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  if (options.input !== undefined) running.child.stdin?.end(options.input);
  try {
    const { stdout, stderr } = await running;
    return { code: 0, text: stdout + stderr };
  } catch (error) {
    const ended = exit.safeParse(error);
    if (!ended.success) throw error;
    return { code: ended.data.code, text: ended.data.stdout + ended.data.stderr };
  }
}

/** What execFile throws where the program ran and answered with a code. */
const exit = z.object({ code: z.number(), stdout: z.string(), stderr: z.string() });
