/** The steps that processes ask about before they take them (FLAMBOYANCE_FAILPOINTS), by names that a plan and a table can use. Owns which object's writing is which step. */

export const workerSteps = [
  "write plan",
  "adoptPlan",
  "dispatch",
  "claim",
  "write part",
  "record",
  "write frontier",
  "confirmFrontier",
  "seal",
  "write seal",
  "sealed",
  "write output",
  "write errors",
  "write summary",
  "write end",
  "end",
  "write after",
  "settle",
  "remove marker",
] as const;

export const apiSteps = ["reserve", "write request", "write marker", "submit", "takeNumber", "write control", "applyCancel"] as const;

export type Step = (typeof workerSteps)[number] | (typeof apiSteps)[number];

const objects: readonly (readonly [name: Step, key: RegExp])[] = [
  ["write request", /\/batch\.json$/],
  ["write marker", /^open\//],
  ["write control", /\/control\//],
  ["write plan", /\/plan\.json$/],
  ["write part", /\/parts\//],
  ["write frontier", /\/frontier\//],
  ["write seal", /\/seals\//],
  ["write output", /\/final\/.*output\.jsonl$/],
  ["write errors", /\/final\/.*errors\.jsonl$/],
  ["write summary", /\/summary\.json$/],
  ["write end", /\/end\.json$/],
  ["write after", /\/after\.json$/],
];

/** The step's name, null for one that no fault waits for. */
export function stepOf({ point, about }: { readonly point: string; readonly about: string }): Step | null {
  if (point === "write" || point === "writeStream") return objects.find(([, key]) => key.test(about))?.[0] ?? null;
  if (point === "remove") return about.startsWith("open/") ? "remove marker" : null;
  return [...workerSteps, ...apiSteps].find((step) => step === point) ?? null;
}
