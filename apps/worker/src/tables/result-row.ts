/** A result line as a table's row. Owns the columns, one list for CSV and Parquet alike; what a column can't hold stays in output.jsonl. */
import { lineSucceeded, type ResultLine } from "@flamboyance/contracts";

export type Cell = string | number | null;

interface ResultColumn {
  readonly name: string;
  readonly type: "text" | "whole" | "number";
  readonly cell: (line: ResultLine) => Cell;
}

export const resultColumns: readonly ResultColumn[] = [
  text("custom_id", ({ custom_id }) => custom_id),
  text("status", (line) => (lineSucceeded(line) ? "completed" : "failed")),
  text("text", (line) => firstChoice(line)?.message.content ?? null),
  // Only where there are several: then the first stands in `text` too.
  text("texts", (line) => {
    const choices = completionOf(line)?.choices ?? [];
    return choices.length > 1 ? JSON.stringify(choices.map(({ message }) => message.content)) : null;
  }),
  text("finish_reason", (line) => firstChoice(line)?.finish_reason ?? null),
  number("log_probability", logProbability),
  text("labels", (line) => jsonOrNull(completionOf(line)?.flamingo?.labels)),
  whole("prompt_tokens", (line) => completionOf(line)?.usage.prompt_tokens ?? null),
  whole("completion_tokens", (line) => completionOf(line)?.usage.completion_tokens ?? null),
  text("error_code", (line) => errorOf(line)?.code ?? null),
  text("error_message", (line) => errorOf(line)?.message ?? null),
  whole("manifest_line", ({ error }) => error?.line ?? null),
  text("model", (line) => completionOf(line)?.model ?? null),
  text("precision", ({ flamingo }) => flamingo?.precision ?? null),
  text("prompt_sha256", ({ flamingo }) => flamingo?.prompt_sha256 ?? null),
  text("image", (line) => onlyImage(line)?.image ?? null),
  text("image_etag", (line) => onlyImage(line)?.etag ?? null),
  text("image_sha256", (line) => onlyImage(line)?.sha256 ?? null),
  // Of a list of several.
  text("images", ({ flamingo }) => (flamingo === undefined || flamingo.images.length === 1 ? null : JSON.stringify(flamingo.images))),
  whole("fetch_ms", ({ flamingo }) => flamingo?.timings.fetch_ms ?? null),
  whole("decode_ms", ({ flamingo }) => flamingo?.timings.decode_ms ?? null),
  whole("engine_ms", ({ flamingo }) => flamingo?.timings.engine_ms ?? null),
  text("worker", ({ flamingo }) => flamingo?.worker ?? null),
  text("copied_from", ({ flamingo }) => flamingo?.copied_from ?? null),
  text("reused_from", ({ flamingo }) => flamingo?.reused_from ?? null),
];

function text(name: string, cell: ResultColumn["cell"]): ResultColumn {
  return { name, type: "text", cell };
}

function whole(name: string, cell: ResultColumn["cell"]): ResultColumn {
  return { name, type: "whole", cell };
}

function number(name: string, cell: ResultColumn["cell"]): ResultColumn {
  return { name, type: "number", cell };
}

function completionOf({ response }: ResultLine) {
  return response !== null && "choices" in response.body ? response.body : null;
}

function firstChoice(line: ResultLine) {
  return completionOf(line)?.choices[0] ?? null;
}

function errorOf({ response, error }: ResultLine): { readonly code: string | null; readonly message: string } | null {
  return error ?? (response !== null && "error" in response.body ? response.body.error : null);
}

/** Of the first text's tokens, or of the label that won; null where none was asked for. */
function logProbability(line: ResultLine): number | null {
  const label = completionOf(line)?.flamingo?.labels[0];
  if (label !== undefined) return label.sum;
  const tokens = firstChoice(line)?.logprobs?.content;
  return tokens === undefined ? null : tokens.reduce((sum, { logprob }) => sum + logprob, 0);
}

function onlyImage({ flamingo }: ResultLine) {
  return flamingo?.images.length === 1 ? flamingo.images[0] : undefined;
}

const jsonOrNull = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value));
