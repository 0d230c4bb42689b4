/**
 * One call over HTTP: sends, tries again what passes (no answer, 429, 5xx) with what the server says or a growing pause, and parses the answer.
 * A POST or DELETE is tried again too: it carries an idempotency key, or is safe to repeat.
 */
import type { CallerErrorCode } from "@flamboyance/contracts";
import { failureOf, FlamboyanceError, parseJson } from "./failure.ts";

export interface Connection {
  readonly baseUrl: string;
  readonly apiKey: string | null;
  readonly fetch: typeof fetch;
  /** Tries after the first. */
  readonly retries: number;
  readonly timeoutMs: number;
}

/** A schema of contracts. */
interface Parser<Value> {
  safeParse(value: unknown): { readonly success: true; readonly data: Value } | { readonly success: false; readonly error: unknown };
}

export interface Call<Value> {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly answer: Parser<Value>;
  readonly signal?: AbortSignal | undefined;
}

/** Rejects with a FlamboyanceError, or with the signal's reason. */
export async function request<Value>(connection: Connection, call: Call<Value>): Promise<Value> {
  for (let tries = 0; ; tries++) {
    call.signal?.throwIfAborted();
    const result = await once(connection, call);
    if (result.kind === "answer") return result.value;
    if (!result.again || tries >= connection.retries) throw result.failure;
    await pause(result.afterMs ?? growingPauseMs(tries), call.signal);
  }
}

type Result<Value> =
  | { readonly kind: "answer"; readonly value: Value }
  | { readonly kind: "failure"; readonly failure: FlamboyanceError; readonly again: boolean; readonly afterMs: number | null };

async function once<Value>(connection: Connection, call: Call<Value>): Promise<Result<Value>> {
  const url = `${connection.baseUrl}${call.path}${queryText(call.query)}`;
  const signals = [AbortSignal.timeout(connection.timeoutMs), ...(call.signal === undefined ? [] : [call.signal])];
  let answer: Response;
  let text: string;
  try {
    answer = await connection.fetch(url, {
      method: call.method,
      headers: {
        accept: "application/json",
        ...(connection.apiKey === null ? {} : { authorization: `Bearer ${connection.apiKey}` }),
        ...(call.body === undefined ? {} : { "content-type": "application/json" }),
        ...call.headers,
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      signal: AbortSignal.any(signals),
    });
    text = await answer.text();
  } catch (error) {
    call.signal?.throwIfAborted();
    const failure = new FlamboyanceError(`No answer from ${connection.baseUrl}.`, {
      code: "no_answer" satisfies CallerErrorCode,
      status: null,
      retryable: true,
      cause: error,
    });
    return { kind: "failure", failure, again: true, afterMs: null };
  }
  if (!answer.ok) {
    const again = (answer.status === 429 || answer.status >= 500) && answer.headers.get("x-should-retry") !== "false";
    return { kind: "failure", failure: failureOf(answer, text), again, afterMs: retryAfterMs(answer) };
  }
  const parsed = call.answer.safeParse(parseJson(text));
  if (parsed.success) return { kind: "answer", value: parsed.data };
  const details = {
    code: "invalid_answer" satisfies CallerErrorCode,
    status: answer.status,
    requestId: answer.headers.get("x-request-id"),
    cause: parsed.error,
  };
  const failure = new FlamboyanceError(`${connection.baseUrl} answered ${call.method} ${call.path}, but not as Flamboyance does.`, details);
  return { kind: "failure", failure, again: false, afterMs: null };
}

const firstPauseMs = 250;
const longestPauseMs = 8_000;
/** A server that asks for longer than this is not waited for. */
const longestAskedMs = 60_000;

/** Half fixed, half by chance, so that many clients don't come back together. */
function growingPauseMs(tries: number): number {
  const most = Math.min(longestPauseMs, firstPauseMs * 2 ** tries);
  return most / 2 + (Math.random() * most) / 2;
}

function retryAfterMs(answer: Response): number | null {
  const text = answer.headers.get("retry-after");
  if (text === null || text.trim() === "") return null;
  const seconds = Number(text);
  const ms = Number.isNaN(seconds) ? Date.parse(text) - Date.now() : seconds * 1_000;
  return Number.isNaN(ms) ? null : Math.min(longestAskedMs, Math.max(0, ms));
}

/** Rejects with the signal's reason as soon as it fires. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
  signal?.throwIfAborted();
}

function queryText(query: Readonly<Record<string, string | number | undefined>> = {}): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) pairs.set(name, String(value));
  const text = pairs.toString();
  return text === "" ? "" : `?${text}`;
}
