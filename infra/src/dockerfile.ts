/** Reads infra/Dockerfile into stages and their instructions, for the checks and for running its steps without an engine. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Copy, DockerfileParser, From, type Instruction } from "dockerfile-ast";
import { root } from "./root.ts";

export const dockerfilePath = join(root, "infra/Dockerfile");

export interface CopyStep {
  readonly kind: "copy";
  /** Another stage's name, or null for the build's context. */
  readonly from: string | null;
  readonly sources: readonly string[];
  readonly target: string;
}

export type Step =
  | CopyStep
  | { readonly kind: "run"; readonly command: string }
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "setting"; readonly keyword: string; readonly words: readonly string[]; readonly text: string };

export interface Stage {
  readonly name: string;
  /** An image with its tag, or an earlier stage's name. */
  readonly base: string;
  readonly steps: readonly Step[];
}

export function readStages(text: string = readFileSync(dockerfilePath, "utf8")): Stage[] {
  const stages: { name: string; base: string; steps: Step[] }[] = [];
  for (const instruction of DockerfileParser.parse(text).getInstructions()) {
    if (instruction instanceof From) {
      stages.push({ name: instruction.getBuildStage() ?? "", base: instruction.getImage() ?? "", steps: [] });
    } else {
      stages.at(-1)?.steps.push(toStep(instruction));
    }
  }
  return stages;
}

function toStep(instruction: Instruction): Step {
  const words = instruction.getArguments().map((argument) => argument.getValue());
  const text = instruction.getArgumentsContent() ?? "";
  if (instruction instanceof Copy) {
    return { kind: "copy", from: instruction.getFromFlag()?.getValue() ?? null, sources: words.slice(0, -1), target: words.at(-1) ?? "" };
  }
  if (instruction.getKeyword() === "RUN") return { kind: "run", command: text };
  if (instruction.getKeyword() === "WORKDIR") return { kind: "folder", path: text };
  return { kind: "setting", keyword: instruction.getKeyword(), words, text };
}
