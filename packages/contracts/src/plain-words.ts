/**
 * What is wrong with a value, in words that its sender understands: for those issues that a schema says nothing about itself. Given to a parse as its `error`,
 * so that a schema's own message goes first. Refuses to be set for all parses at once: who imports this may have schemas, and words, of his own.
 */
import type { z } from "zod";

/** Behind a field's name: `max_new_tokens` "must be at least 1". */
export const plainWords: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is needed" : `must be ${kinds[issue.expected] ?? issue.expected}`;
    case "too_small":
      return `must ${least(issue)}`;
    case "too_big":
      return `must ${most(issue)}`;
    case "invalid_value":
      return issue.values.length === 1 ? `must be ${String(issue.values[0])}` : `must be one of ${issue.values.map(String).join(", ")}`;
    case "unrecognized_keys":
      return `has a field that isn't known: ${issue.keys.join(", ")}`;
    case "invalid_format":
      return `has a form that isn't taken (${issue.format})`;
    case "invalid_union":
      return "fits none of the forms that it may have";
    default:
      return undefined;
  }
};

const kinds: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
  null: "null",
};

function least({ origin, minimum, inclusive = true }: { origin: string; minimum: number | bigint; inclusive?: boolean }): string {
  if (origin === "string") return minimum === 1 ? "not be empty" : `have ${minimum} characters or more`;
  if (origin === "array" || origin === "set") return minimum === 1 ? "not be empty" : `hold ${minimum} or more`;
  return inclusive ? `be at least ${minimum}` : `be more than ${minimum}`;
}

function most({ origin, maximum, inclusive = true }: { origin: string; maximum: number | bigint; inclusive?: boolean }): string {
  if (origin === "string") return `have ${maximum} characters or fewer`;
  if (origin === "array" || origin === "set") return `hold ${maximum} or fewer`;
  return inclusive ? `be at most ${maximum}` : `be less than ${maximum}`;
}
