/** Reads infra/compose.yaml as an engine would see it: anchors merged, variables filled in from an environment. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { root } from "./root.ts";

export const composePath = join(root, "infra/compose.yaml");

const words = z.array(z.string());
const service = z.object({
  image: z.string(),
  build: z.object({ context: z.string(), dockerfile: z.string(), target: z.string() }).optional(),
  environment: z.record(z.string(), z.string()).default({}),
  volumes: words.default([]),
  ports: words.default([]),
  command: words.default([]),
  entrypoint: words.default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  healthcheck: z.object({ test: words }).optional(),
  stop_grace_period: z.string().optional(),
  restart: z.string(),
});
const compose = z.object({ services: z.record(z.string(), service), volumes: z.record(z.string(), z.unknown()) });
export type Compose = z.infer<typeof compose>;

export function readCompose(variables: Readonly<Record<string, string>>): Compose {
  return compose.parse(fillInAll(parse(readFileSync(composePath, "utf8"), { merge: true }), variables));
}

/** As compose does: first YAML, then the variables in each text, so that a value can't change the structure. */
function fillInAll(value: unknown, variables: Readonly<Record<string, string>>): unknown {
  if (typeof value === "string") return fillIn(value, variables);
  if (Array.isArray(value)) return value.map((one) => fillInAll(one, variables));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, fillInAll(one, variables)]));
}

/** Compose's own forms: $$ is a dollar; ${NAME:-fallback}; ${NAME:?reason} must be there and not empty. */
export function fillIn(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\$|\$\{(\w+)(?::([-?])([^}]*))?\}/g, (whole, name: string | undefined, form: string | undefined, rest = "") => {
    if (name === undefined) return "$";
    const value = variables[name] ?? "";
    if (value !== "") return value;
    if (form === "-") return rest;
    throw new Error(`${whole}: ${name} is not set`);
  });
}

/** The variables that the file asks for: those without a fallback first. */
export function variablesOf(text: string): { required: string[]; optional: string[] } {
  const found = [...text.matchAll(/\$\{(\w+)(:[-?])?/g)].map((match) => ({ name: match[1] ?? "", optional: match[2] === ":-" }));
  const names = (optional: boolean) => [...new Set(found.filter((one) => one.optional === optional).map(({ name }) => name))].toSorted();
  return { required: names(false), optional: names(true) };
}
