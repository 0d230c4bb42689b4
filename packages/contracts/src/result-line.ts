/**
 * One item's line, in a part, in output.jsonl or errors.jsonl: OpenAI's batch output.
 * Ran and succeeded: status 200 and a chat completion. Ran and failed: status 4xx or 5xx and `body.error`. Never ran: no response, `error`.
 */
import { z } from "zod";
import { errorTable, type ErrorCode } from "./error-code.ts";
import { errorBody } from "./error-body.ts";
import type { RefusedLine } from "./stored.ts";

const tokenLogprob = z.object({
  token: z.string().describe("Special tokens are spelled out; a part of a character is U+FFFD."),
  logprob: z.number().describe("Natural logarithm under the model's own distribution, before temperature and filters."),
  bytes: z.array(z.int()).nullable().describe("In UTF-8; null where the token is a part of a character."),
  top_logprobs: z.array(z.never()),
});

/** A label of classify and its tokens' log-probabilities after the prompt. */
const rankedLabel = z.object({ label: z.string(), sum: z.number(), mean: z.number() });

export const chatCompletion = z.object({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      message: z.object({ role: z.literal("assistant"), content: z.string(), refusal: z.null() }),
      finish_reason: z.enum(["stop", "length"]),
      /** Of every token that was made, the end-of-chunk token and a stop string's too: as many as completion_tokens counts. */
      logprobs: z.object({ content: z.array(tokenLogprob), refusal: z.null() }).nullable(),
    }),
  ),
  usage: z.object({
    prompt_tokens: z.int(),
    /** Of all choices; for classify the tokens of the winning label. */
    completion_tokens: z.int(),
    total_tokens: z.int(),
    prompt_tokens_details: z.object({ cached_tokens: z.int() }),
  }),
  flamingo: z
    .object({ labels: z.array(rankedLabel) })
    .optional()
    .describe("classify only: all labels, the best first; the choice's text is the first one's."),
});
export type ChatCompletion = z.infer<typeof chatCompletion>;

/** How a line came about: of what, by whom, in what time. Two attempts at an item differ in it; the line that counts is one attempt's, whole. */
export const provenance = z.object({
  images: z
    .array(
      z.object({
        image: z.string(),
        etag: z.string().nullable(),
        sha256: z.string().nullable(),
        frames: z.int().optional().describe("How many were asked of an animation; absent: its first alone."),
      }),
    )
    .describe(
      "What was looked at, in order: the item's image, or those taken of its `images`. ETag and SHA-256 of the bytes, null where they weren't read.",
    ),
  precision: z.string().describe("The model's: fp32, int8, …"),
  prompt_sha256: z.string().nullable().describe("Equal where the examples, the item's words and its labels are; null in a failed line."),
  timings: z
    .object({ fetch_ms: z.int(), decode_ms: z.int(), engine_ms: z.int() })
    .describe("What the item waited for; an image that another item fetched already takes none."),
  worker: z.string().describe("The process that ran it, as its log names it."),
  copied_from: z
    .string()
    .optional()
    .describe(
      "The line whose answer this is: of an earlier item of the batch that shows and asks the same. It took no time, and its tokens count once.",
    ),
  reused_from: z
    .string()
    .optional()
    .describe(
      "As `copied_from`, the line of an earlier batch of the same tenant, whose id stands in it. The image was fetched, the model didn't run.",
    ),
});
export type Provenance = z.infer<typeof provenance>;

export const resultLine = z.object({
  id: z.string(),
  /** Null only where a refused manifest line had none that could be read. */
  custom_id: z.string().nullable(),
  response: z.object({ status_code: z.int(), request_id: z.string(), body: z.union([chatCompletion, errorBody]) }).nullable(),
  error: z.object({ code: z.string(), message: z.string(), line: z.int().optional() }).nullable(),
  flamingo: provenance.optional().describe("Absent where the item never ran."),
});
export type ResultLine = z.infer<typeof resultLine>;

/** Identity of an item's line, from which its ids follow, so that every writer of the line writes the same ones. */
export interface ItemIdentity {
  readonly batchId: string;
  /** Its number (`itemNumber`): its place in the frozen items.jsonl, from 0; in a retry that of the first batch. */
  readonly item: number;
  readonly customId: string;
}

export function succeededLine(
  identity: ItemIdentity,
  completion: Omit<ChatCompletion, "id" | "object">,
  flamingo?: Provenance,
): ResultLine {
  const suffix = lineSuffix(identity);
  const body: ChatCompletion = { id: `chatcmpl-${suffix}`, object: "chat.completion", ...completion };
  return {
    id: `batch_req_${suffix}`,
    custom_id: identity.customId,
    response: { status_code: 200, request_id: `req_${suffix}`, body },
    error: null,
    ...(flamingo === undefined ? {} : { flamingo }),
  };
}

export function failedLine(identity: ItemIdentity, code: ErrorCode, message: string, flamingo?: Provenance): ResultLine {
  const suffix = lineSuffix(identity);
  const { status, type } = errorTable[code];
  const body = { error: { message, type, param: null, code } };
  return {
    id: `batch_req_${suffix}`,
    custom_id: identity.customId,
    response: { status_code: status, request_id: `req_${suffix}`, body },
    error: null,
    ...(flamingo === undefined ? {} : { flamingo }),
  };
}

export function neverRanLine(identity: ItemIdentity, code: "batch_cancelled" | "batch_expired" | "batch_failed"): ResultLine {
  return {
    id: `batch_req_${lineSuffix(identity)}`,
    custom_id: identity.customId,
    response: null,
    error: { code, message: errorTable[code].meaning },
  };
}

/** The line of a manifest line that plan refused (`on_invalid: "skip"`); it never became an item. */
export function refusedResultLine(batchId: string, refused: RefusedLine): ResultLine {
  const { code, line, before_item: beforeItem } = refused;
  // A result line has no place for the field's name but its message.
  const message = refused.param === null ? refused.message : `${refused.param}: ${refused.message}`;
  return {
    id: `batch_req_${batchSuffix(batchId)}-${beforeItem}-line-${line}`,
    custom_id: refused.custom_id,
    response: null,
    error: { code, message, line },
  };
}

export function lineSucceeded(line: ResultLine): boolean {
  return line.response?.status_code === 200;
}

/** Whether an answer was made for this line, or a failure met: neither copied from its like in the batch nor reused from an earlier batch. */
export function lineRan({ flamingo }: ResultLine): boolean {
  return flamingo?.copied_from === undefined && flamingo?.reused_from === undefined;
}

/** Where a result line stands among its batch's: before or at an item, and for a refused manifest line that line's number. */
export interface LinePosition {
  readonly item: number;
  /** Null for the item's own line, which stands behind the refused lines before it. */
  readonly refusedLine: number | null;
}

/** Read from the line's id, so that output.jsonl and errors.jsonl merge into manifest order without anything else. Null for a foreign id. */
export function linePosition(id: string): LinePosition | null {
  const found = /-(\d+)(?:-line-(\d+))?$/.exec(id);
  if (found === null) return null;
  return { item: Number(found[1]), refusedLine: found[2] === undefined ? null : Number(found[2]) };
}

/** Negative where `a` stands before `b`. */
export function comparePositions(a: LinePosition, b: LinePosition): number {
  return a.item - b.item || (a.refusedLine ?? Infinity) - (b.refusedLine ?? Infinity) || 0;
}

function lineSuffix({ batchId, item }: ItemIdentity): string {
  return `${batchSuffix(batchId)}-${item}`;
}

function batchSuffix(batchId: string): string {
  return batchId.replace(/^batch_/, "");
}
