/** From flags and files to the body of a submit. Owns which flag is which field; refuses to judge values: the schema of contracts does. */
import { readFile } from "node:fs/promises";
import { createDatasetBatch, plainWords, type CreateDatasetBatchInput } from "@flamboyance/contracts";
import { z } from "zod";
import { UsageError } from "./failure.ts";

export interface SubmitFlags {
  readonly file?: string;
  readonly model?: string;
  readonly task?: string;
  readonly input?: string;
  readonly column?: Readonly<Record<string, string>>;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  readonly output?: string;
  readonly examples?: string;
  readonly question?: string;
  readonly prompt?: string;
  readonly labels?: readonly string[];
  readonly rankBy?: string;
  readonly frames?: number;
  readonly pixels?: string;
  readonly maxNewTokens?: number;
  readonly minNewTokens?: number;
  readonly numBeams?: number;
  readonly lengthPenalty?: number;
  readonly earlyStopping?: string;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed?: number;
  readonly n?: number;
  readonly stop?: readonly string[];
  readonly logprobs?: boolean;
  readonly onInvalid?: string;
  readonly completionWindow?: string;
  readonly priority?: number;
  readonly resultFormats?: readonly string[];
  readonly deduplicate?: boolean;
  readonly reuse?: boolean;
  readonly dryRun?: boolean;
  readonly maxFailed?: number | string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A file's fields, with the flags over them. Throws UsageError, which names the first field that doesn't fit. */
export async function readSubmission(
  flags: SubmitFlags,
  readText: (path: string) => Promise<string> = readTextFile,
): Promise<CreateDatasetBatchInput> {
  const body: Record<string, unknown> = flags.file === undefined ? {} : { ...parseObject(await readText(flags.file), flags.file) };
  const generation = {
    max_new_tokens: flags.maxNewTokens,
    min_new_tokens: flags.minNewTokens,
    num_beams: flags.numBeams,
    length_penalty: flags.lengthPenalty,
    early_stopping: flags.earlyStopping === undefined ? undefined : (earlyStoppings[flags.earlyStopping] ?? flags.earlyStopping),
    temperature: flags.temperature,
    top_k: flags.topK,
    top_p: flags.topP,
    seed: flags.seed,
    n: flags.n,
    stop: flags.stop,
    logprobs: flags.logprobs,
  };
  const given = {
    model: flags.model,
    task: flags.task,
    input: flags.input,
    columns: flags.column,
    include: flags.include,
    exclude: flags.exclude,
    output: flags.output,
    examples: flags.examples === undefined ? undefined : parseList(await readText(flags.examples), flags.examples),
    question: flags.question,
    prompt: flags.prompt,
    labels: flags.labels,
    rank_by: flags.rankBy,
    frames: flags.frames,
    pixels: flags.pixels,
    on_invalid: flags.onInvalid,
    completion_window: flags.completionWindow,
    priority: flags.priority,
    result_formats: flags.resultFormats,
    // Without the flag it is true: then the file's word stands.
    deduplicate: flags.deduplicate === false ? false : undefined,
    reuse: flags.reuse,
    dry_run: flags.dryRun,
    max_failed: flags.maxFailed,
    metadata: flags.metadata,
  };
  for (const [field, value] of Object.entries(given)) if (value !== undefined) body[field] = value;
  const named = Object.entries(generation).filter(([, value]) => value !== undefined);
  if (named.length > 0) body["generation"] = { ...object.safeParse(body["generation"]).data, ...Object.fromEntries(named) };

  const parsed = createDatasetBatch.safeParse(body, { error: plainWords });
  if (!parsed.success) throw new UsageError(firstIssue(parsed.error));
  return parsed.data;
}

/** "never" is said as it is. */
const earlyStoppings: Readonly<Record<string, boolean>> = { true: true, false: false };

/** A flag's `key=value`, any number of them. */
export const collectPairs =
  (flag: string, form: string) =>
  (text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> => {
    const at = text.indexOf("=");
    if (at < 1) throw new UsageError(`${flag} takes ${form}, not ${JSON.stringify(text)}`);
    return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
  };

const object = z.record(z.string(), z.unknown());

function parseObject(text: string, path: string): Record<string, unknown> {
  const parsed = object.safeParse(parseJson(text));
  if (!parsed.success) throw new UsageError(`${path}: not a JSON object`);
  return parsed.data;
}

/** A JSON list, or JSON lines. */
function parseList(text: string, path: string): unknown[] {
  const whole = parseJson(text);
  if (Array.isArray(whole)) return whole;
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line, index) => {
    const value = parseJson(line);
    if (value === undefined) throw new UsageError(`${path}: neither a JSON list nor JSON lines (line ${index + 1})`);
    return value;
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  const place = issue?.path.join(".") ?? "";
  // Of a list's element its flag.
  const flag = flagOf[place] ?? flagOf[place.replace(/\.\d+$/, "")];
  const reason = issue?.message ?? "doesn't fit";
  return `${flag ?? place}${place === "" && flag === undefined ? "" : " "}${reason}`;
}

/** A field by its flag, so that the line names what was typed. */
const flagOf: Readonly<Record<string, string>> = {
  model: "--model",
  task: "--task",
  input: "--input",
  columns: "--column",
  include: "--include",
  exclude: "--exclude",
  output: "--output",
  question: "--question",
  prompt: "--prompt",
  labels: "--labels",
  rank_by: "--rank-by",
  frames: "--frames",
  pixels: "--pixels",
  on_invalid: "--on-invalid",
  result_formats: "--result-formats",
  completion_window: "--completion-window",
  priority: "--priority",
  reuse: "--reuse",
  max_failed: "--max-failed",
  "generation.max_new_tokens": "--max-new-tokens",
  "generation.min_new_tokens": "--min-new-tokens",
  "generation.num_beams": "--num-beams",
  "generation.length_penalty": "--length-penalty",
  "generation.early_stopping": "--early-stopping",
  "generation.temperature": "--temperature",
  "generation.top_k": "--top-k",
  "generation.top_p": "--top-p",
  "generation.seed": "--seed",
  "generation.n": "--n",
  "generation.stop": "--stop",
  "generation.logprobs": "--logprobs",
};

async function readTextFile(path: string): Promise<string> {
  try {
    return await readFile(path === "-" ? "/dev/stdin" : path, "utf8");
  } catch (error) {
    throw new UsageError(`${path} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
