/**
 * The one table of what can go wrong: code → HTTP status, OpenAI's error type, whether trying again may help, and what it means.
 * Owns every code that crosses a door (HTTP answer, error line, thrown error). Refuses messages: those belong to the place that knows the facts.
 */

interface ErrorTraits {
  /** HTTP status where the error answers a request, and `response.status_code` where it stands in an error line. */
  readonly status: number;
  readonly type:
    | "invalid_request_error"
    | "authentication_error"
    | "permission_error"
    | "not_found_error"
    | "rate_limit_error"
    | "server_error";
  /** True where the same input may succeed later. */
  readonly retryable: boolean;
  readonly meaning: string;
}

const invalid = (meaning: string, status = 400): ErrorTraits => ({ status, type: "invalid_request_error", retryable: false, meaning });
const neverRan = (meaning: string, status: number): ErrorTraits => ({ ...invalid(meaning, status), retryable: true });
const passing = (meaning: string, status = 503): ErrorTraits => ({ status, type: "server_error", retryable: true, meaning });

export const errorTable = {
  // A request
  invalid_request: invalid("The request's body, path or query doesn't fit its schema; `param` names the place."),
  invalid_cursor: invalid("`after` isn't an id or cursor that this list gave out."),
  authentication_required: { status: 401, type: "authentication_error", retryable: false, meaning: "No bearer key was sent." },
  invalid_api_key: {
    status: 401,
    type: "authentication_error",
    retryable: false,
    meaning: "The bearer key isn't known, has ended or was revoked.",
  },
  scope_missing: { status: 403, type: "permission_error", retryable: false, meaning: "The key is known, but may not do this." },
  bucket_not_allowed: {
    status: 403,
    type: "permission_error",
    retryable: false,
    meaning: "The tenant may not use this bucket, folder or host.",
  },
  rate_limited: {
    status: 429,
    type: "rate_limit_error",
    retryable: true,
    meaning: "The key calls too often; `retry-after` says when it may again.",
  },
  not_found: {
    status: 404,
    type: "not_found_error",
    retryable: false,
    meaning: "There is no such route, or no such object for this tenant.",
  },
  model_not_found: { status: 404, type: "not_found_error", retryable: false, meaning: "The catalogue holds no such model." },
  idempotency_mismatch: invalid("The idempotency key was used with another body.", 422),
  output_not_writable: invalid("The batch's output bucket isn't there, or may not be written."),
  conflict: invalid("The object's status doesn't allow this.", 409),
  nothing_to_retry: invalid("No item of the batch failed, or none with these codes; what a retry made good counts no more.", 409),
  quota_exceeded: {
    status: 429,
    type: "invalid_request_error",
    retryable: true,
    meaning:
      "The tenant has as many batches or items under way, or keeps as many bytes, as it may; when some have ended or were deleted there is room again.",
  },
  payload_too_large: invalid("The request's body is larger than the limit.", 413),
  service_unavailable: passing("Redis or S3 is away, too slow or being rebuilt; the same request may be sent again."),
  internal_error: {
    status: 500,
    type: "server_error",
    retryable: true,
    meaning: "A fault of the service's own; the request id leads to its log.",
  },

  // A batch's manifest, at plan
  invalid_json_line: invalid("A line isn't a JSON object."),
  invalid_line: invalid("A line doesn't fit the manifest's schema; `param` names the field."),
  invalid_row: invalid("A row of a CSV or TSV has a quote where none may stand, or isn't UTF-8."),
  ragged_row: invalid("A row of a CSV or TSV has more or fewer cells than the header."),
  invalid_header: invalid(
    "The manifest's columns can't be used: one is named twice, or one is missing that `columns` names or that no row can do without (an id, an image).",
  ),
  duplicate_custom_id: invalid("Two lines carry the same custom_id."),
  empty_file: invalid("The manifest holds no lines, or the prefix no objects."),
  too_many_tasks: invalid("The manifest holds more lines than the limit."),
  line_too_long: invalid("A line is longer than the limit."),
  more_line_errors: invalid("More lines were refused than a batch's `errors` show; the message has their number."),
  manifest_unreadable: invalid(
    "The manifest isn't what its name says, or is damaged or cut off: its compression, its last quote, or its Parquet structure (also where that keeps its reader busy without an end).",
  ),
  manifest_too_large: invalid(
    "The manifest unpacks to more than the limit, or a Parquet file's footer, row group or page does, or its decoding takes too much memory.",
    413,
  ),
  manifest_not_found: invalid("The batch's manifest, bucket or prefix isn't there.", 404),
  manifest_forbidden: invalid("The batch's manifest, bucket or prefix may not be read.", 403),
  poison_manifest: {
    status: 500,
    type: "server_error",
    retryable: false,
    meaning:
      "The worker's process died three times at the same place of the manifest while it did nothing but read it; it isn't tried again.",
  },
  bad_example: invalid("A support example's image can't be read, or the worker's process died three times while it decoded it alone."),

  // An item, while its chunk runs
  image_not_found: invalid("The item's image isn't there.", 404),
  image_forbidden: invalid("The item's image may not be read.", 403),
  image_changed: invalid("The item's image isn't the one that the manifest or the prefix's listing named: its ETag is another.", 412),
  image_too_large: invalid("The item's image has more bytes or pixels than the limit, an animation in its frames together.", 413),
  image_unsupported: invalid("The item's bytes aren't an image of a supported form."),
  image_unreadable: invalid("The item's bytes begin like an image but can't be decoded."),
  image_unavailable: passing(
    "The item's image isn't to be had from its web server: no answer, too slow, a 5xx or a throttle, three times.",
    502,
  ),
  prompt_too_long: invalid("The item's prompt is longer than the model's limit."),
  poison_item: {
    status: 500,
    type: "server_error",
    retryable: false,
    meaning: "The worker's process died three times while it ran this item alone; it isn't tried again.",
  },
  item_failed: { status: 500, type: "server_error", retryable: true, meaning: "The engine failed on this item alone." },
  batch_cancelled: neverRan("The item never ran: its batch was cancelled. A retry runs it.", 409),
  batch_expired: neverRan("The item never ran: its batch's deadline passed. A retry runs it.", 408),
  batch_failed: invalid("The item never ran: its batch failed.", 409),

  // S3, before a place decides what it means
  storage_not_found: invalid("S3: the object or bucket isn't there.", 404),
  storage_forbidden: invalid("S3: access denied.", 403),
  storage_precondition_failed: invalid("S3: the object's condition (if-match, if-none-match) doesn't hold.", 412),
  storage_changed: passing("S3: the object changed while it was read."),
  storage_too_large: invalid("S3: the object has more bytes than its reader allows.", 413),
  storage_refused: invalid("S3: the request was refused as wrong (its region, endpoint or form); trying again won't help."),
  storage_invalid_location: invalid("The text isn't an s3://bucket/key location."),
  storage_unavailable: passing("S3: no answer, a 5xx, a throttle, or our own keys aren't good; tried again within its bounds."),
  storage_invalid_response: passing("S3: the answer can't be understood."),

  // A model's pieces and folders
  model_piece_missing: invalid("A file that the import needs isn't there."),
  model_piece_unsupported: invalid("A piece's form, architecture or dtype isn't one that the importer knows."),
  model_piece_corrupt: invalid("A piece's file can't be parsed."),
  pickle_refused: invalid("A PyTorch file holds something other than tensors and plain containers; nothing was executed."),
  model_check_failed: invalid("An imported model's first run gave something other than finite numbers and an answer that ends."),
  preset_mismatch: invalid("A piece isn't the one that the preset names; `param` is what differs."),
  tensor_missing: invalid("A tensor that the architecture needs isn't in the pieces."),
  tensor_surplus: invalid("The pieces hold a tensor that nothing uses."),
  tensor_misshapen: invalid("A tensor's shape isn't the one that the architecture needs."),
  model_folder_invalid: invalid("A model folder's flamingo.json or files are missing, wrong, or of another version."),
  device_unavailable: invalid("The device that was asked for isn't on this machine, or can't run the model."),
  engine_failed: passing("The engine stopped or crashed; its work is taken up again."),

  // The Hugging Face Hub
  hub_unauthorized: invalid("The Hub wants a token: the repository is private or gated, or isn't there.", 401),
  hub_forbidden: invalid("The Hub doesn't give this repository to the token's owner: its terms may have to be accepted there.", 403),
  hub_not_found: invalid("The Hub has no such repository, revision or file.", 404),
  hub_file_corrupt: invalid("A file came with another size or hash than the Hub says; it was deleted."),
  hub_unavailable: passing("The Hub: no answer, a 5xx, a throttle or a cut connection; tried again within its bounds."),
  hub_invalid_response: passing("The Hub: the answer can't be understood."),

  // A process
  configuration_invalid: invalid("An environment variable or flag is missing or wrong."),
  aborted: passing("The work was given up: cancelled, expired or shutting down."),
} as const satisfies Record<string, ErrorTraits>;

export type ErrorCode = keyof typeof errorTable;

/** What only a caller's side can say: no answer carries these. They stand here so that the same page tells them. */
export const callerErrors = {
  no_answer: "Nobody answered at the address, or not in time; the same call may succeed later.",
  invalid_answer: "What answered isn't Flamboyance, or another version of it: a proxy's page, another server at the address.",
} as const;

export type CallerErrorCode = keyof typeof callerErrors;

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorTable, text);
}

/**
 * An error that carries a code of the table. `param` names the request's field or the file's tensor that is wrong; `line` a manifest's line, from 1.
 * The message is for people; programs read `code`.
 */
export class CodedError extends Error {
  override readonly name = "CodedError";
  readonly code: ErrorCode;
  readonly param: string | null;
  readonly line: number | null;

  constructor(code: ErrorCode, message: string, details: { param?: string; line?: number; cause?: unknown } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.param = details.param ?? null;
    this.line = details.line ?? null;
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  get type(): ErrorTraits["type"] {
    return errorTable[this.code].type;
  }

  get retryable(): boolean {
    return errorTable[this.code].retryable;
  }
}

/** True for a CodedError, with one of the given codes where any is given. */
export function isCoded(error: unknown, ...codes: readonly ErrorCode[]): error is CodedError {
  return error instanceof CodedError && (codes.length === 0 || codes.includes(error.code));
}
