/**
 * What a call can fail with: the service's own code where it answered one, and two of the client's own.
 * Refuses to be parsed by message: read `code`.
 */
import { errorBody, errorTable, type CallerErrorCode } from "@flamboyance/contracts";

export interface FailureDetails {
  readonly code: string;
  /** HTTP status; null where there was no answer. */
  readonly status: number | null;
  readonly param?: string | null;
  readonly requestId?: string | null;
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/**
 * Every rejection of the client. `code` is one of the service's error table, or the client's own: `no_answer` (no connection, or none in time), `invalid_answer` (not what
 * the service speaks: another server, or another version).
 */
export class FlamboyanceError extends Error {
  override readonly name = "FlamboyanceError";
  readonly code: string;
  readonly status: number | null;
  readonly param: string | null;
  /** The service's own name of the request; its log knows it. */
  readonly requestId: string | null;
  /** True where the same call may succeed later. */
  readonly retryable: boolean;

  constructor(message: string, { code, status, param = null, requestId = null, retryable = false, cause }: FailureDetails) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.status = status;
    this.param = param;
    this.requestId = requestId;
    this.retryable = retryable;
  }
}

/** What a failed answer means. Anything but the service's own body is `invalid_answer`: a proxy's page, another server. */
export function failureOf(answer: Response, text: string): FlamboyanceError {
  const requestId = answer.headers.get("x-request-id");
  const { status } = answer;
  const passing = status === 429 || status >= 500;
  const parsed = errorBody.safeParse(parseJson(text));
  if (!parsed.success) {
    return new FlamboyanceError(`The server answered HTTP ${status}, but not as Flamboyance does.`, {
      code: "invalid_answer" satisfies CallerErrorCode,
      status,
      requestId,
      retryable: passing,
    });
  }
  const { message, code, param } = parsed.data.error;
  const retryable = isKnown(code) ? errorTable[code].retryable : passing;
  return new FlamboyanceError(message, { code: code ?? "invalid_answer", status, param, requestId, retryable });
}

/** Undefined where it isn't JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isKnown(code: string | null): code is keyof typeof errorTable {
  return code !== null && Object.hasOwn(errorTable, code);
}
