/** What a request must be: its schemas' parse, with the first fault in plain words and at its place, as `examples[0].image`. */
import { CodedError, plainWords } from "@flamboyance/contracts";
import { z } from "zod";

/** Fastify's compiler of validators. */
export function validatorCompiler({ schema }: { readonly schema: unknown }): (data: unknown) => { value: unknown } | { error: CodedError } {
  if (!(schema instanceof z.ZodType)) throw new TypeError("a route's schemas are zod's");
  return (data) => {
    const parsed = schema.safeParse(data, { error: plainWords });
    return parsed.success ? { value: parsed.data } : { error: invalidRequest(parsed.error) };
  };
}

function invalidRequest({ issues }: z.ZodError): CodedError {
  const { path, message } = sharpest(issues[0]);
  const place = path.reduce<string>((text, step) => (/^\d+$/.test(step) ? `${text}[${step}]` : text === "" ? step : `${text}.${step}`), "");
  return place === ""
    ? new CodedError("invalid_request", `The request ${message}.`)
    : new CodedError("invalid_request", `${place}: ${message}`, { param: place });
}

const issueSchema = z.object({
  path: z.array(z.coerce.string()),
  message: z.string(),
  /** Of an unknown field. */
  keys: z.array(z.string()).optional(),
  /** Of a union: what each of its forms says. */
  errors: z.array(z.array(z.unknown())).optional(),
});

/** The issue that helps most: an unknown field by its name; of a union, the form that comes nearest. */
function sharpest(issue: unknown): { path: string[]; message: string } {
  const { path, message, keys, errors } = issueSchema.parse(issue);
  if (keys?.[0] !== undefined) return { path: [...path, keys[0]], message: "is not a known field" };
  const nearest = errors?.filter((issues) => issues.length > 0).toSorted((a, b) => a.length - b.length)[0];
  // A union that has its own words says them.
  if (nearest === undefined) return { path, message };
  const inner = sharpest(nearest.find((one) => issueSchema.safeParse(one).data?.keys !== undefined) ?? nearest[0]);
  return { path: [...path, ...inner.path], message: inner.message };
}
