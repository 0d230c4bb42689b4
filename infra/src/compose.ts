/** Reads infra/compose.yaml as an engine would see it: anchors merged, variables filled in from an environment. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { root } from "./root.ts";

export const composePath = join(root, "infra/compose.yaml");

export interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string; readonly target: string };
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly stop_grace_period?: string;
  readonly restart?: string;
}

export interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

export function readCompose(variables: Readonly<Record<string, string>>): Compose {
  return fillInAll(parse(readFileSync(composePath, "utf8"), { merge: true }), variables) as Compose;
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
