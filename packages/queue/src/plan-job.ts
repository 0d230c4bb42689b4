/** Adds a batch's plan job, at its tenant's turn (scripts/plan-turn.ts). */
import { planTurnAnswer } from "./answers.ts";
import type { Jobs } from "./jobs.ts";
import type { RunScript } from "./script.ts";
import { planTurn } from "./scripts/plan-turn.ts";

export async function addPlanJob({ run, jobs }: { readonly run: RunScript; readonly jobs: Jobs }, id: string): Promise<void> {
  const { waiting, delayed } = jobs.planKeys();
  const answer = await run(planTurn, [id, waiting, delayed], planTurnAnswer);
  if (answer.kind === "turn") await jobs.addBatchJob("plan", id, answer.at);
}
