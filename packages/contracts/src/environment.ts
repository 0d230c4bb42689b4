/**
 * How a process reads its environment: once, by a schema of variables, whose names, defaults and meanings `--help` and the documents are printed from.
 * Owns the reading and its words. Refuses to know variables: those belong to who needs them.
 */
import { z } from "zod";
import { CodedError } from "./error-code.ts";
import { plainWords } from "./plain-words.ts";

export type Variables = Readonly<Record<string, string | undefined>>;

export const flag = z.enum(["true", "false"]).transform((text) => text === "true");

/** What every process has. */
export const logLevel = z
  .enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"])
  .default("info")
  .describe("Log lines (JSON) from this level on.");

/** Throws configuration_invalid, whose `param` is the variable. */
export function readEnvironment<Schema extends z.ZodObject>(schema: Schema, variables: Variables): z.output<Schema> {
  // An empty variable is an unset one: compose files and shells can't leave one out.
  const present = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined && value !== ""));
  const parsed = schema.safeParse(present, { error: plainWords });
  if (parsed.success) return parsed.data;
  const name = String(parsed.error.issues[0]?.path[0] ?? "");
  const reason = present[name] === undefined ? "is not set" : (parsed.error.issues[0]?.message ?? "is wrong");
  throw new CodedError("configuration_invalid", `${name} ${reason} (--help lists every variable)`, { param: name });
}

export interface VariableRow {
  readonly name: string;
  readonly fallback: string;
  readonly meaning: string;
}

/** Every variable with its default and meaning, in the schema's order. */
export function environmentTable(schema: z.ZodObject): VariableRow[] {
  return Object.entries<z.ZodType>(schema.shape).map(([name, variable]) => {
    const empty = variable.safeParse(undefined);
    return { name, fallback: empty.success ? shown(empty.data) : "required", meaning: variable.description ?? "" };
  });
}

function shown(fallback: unknown): string {
  if (fallback === undefined) return "unset";
  return typeof fallback === "string" ? fallback : JSON.stringify(fallback);
}
