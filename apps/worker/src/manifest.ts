/**
 * A batch's input, whatever its form, as items and refused lines in order. Owns what a valid line is; each line is read once, here.
 * Refuses to decide whether a refused line fails the batch: that is plan's.
 */
import {
  CodedError,
  limits,
  manifestLine,
  type BatchRequest,
  type ErrorCode,
  type Item,
  type ManifestLine,
  type RefusedLine,
} from "@flamboyance/contracts";
import { formatLocation, isManifest, parseGlob, parseLocation, readLines, type Line, type Storage } from "@flamboyance/storage";
import { CustomIds } from "./custom-ids.ts";
import { mayRead } from "./fetch.ts";

export type ManifestEntry =
  | { readonly kind: "item"; readonly item: Item }
  | { readonly kind: "refused"; readonly refused: Omit<RefusedLine, "before_item"> };

/**
 * Every line once. Throws manifest_not_found and manifest_forbidden where the input itself can't be read, passing faults as they are.
 * A prefix's objects become items named by their keys.
 */
export function readManifest(
  storage: Storage,
  request: BatchRequest,
  { serviceBucket, signal }: { readonly serviceBucket: string; readonly signal: AbortSignal },
): AsyncGenerator<ManifestEntry> {
  const location = parseLocation(request.input);
  if (!mayRead(location, { buckets: request.buckets, serviceBucket })) {
    throw new CodedError("manifest_forbidden", `${request.input}: this bucket may not be used`);
  }
  return asInput(request.input, isManifest(request.input) ? readFile(storage, request, signal) : readPrefix(storage, request, signal));
}

async function* readPrefix(storage: Storage, request: BatchRequest, signal: AbortSignal): AsyncGenerator<ManifestEntry> {
  const lacking = lackingField(request, {});
  if (lacking !== null) {
    throw new CodedError("invalid_line", `a prefix's items bring no ${lacking}: the batch needs its own`, { param: lacking });
  }
  const glob = parseGlob(request.input);
  const { bucket, prefix } = glob;
  let line = 0;
  for await (const { key } of storage.list({ bucket, key: prefix }, { signal })) {
    if (!glob.matches(key)) continue;
    line += 1;
    yield { kind: "item", item: { custom_id: key, line, image: formatLocation({ bucket, key }), ...itemWords(request, {}) } };
  }
}

async function* readFile(storage: Storage, request: BatchRequest, signal: AbortSignal): AsyncGenerator<ManifestEntry> {
  const customIds = new CustomIds();
  const bytes = storage.stream(parseLocation(request.input), { signal });
  for await (const line of readLines(bytes, { maxLineBytes: limits.manifestLineBytes })) {
    // Blank lines are no items: many tools end a file with some.
    if (line.kind === "line" && line.text.trim() === "") continue;
    yield readLine(line, request, customIds);
  }
}

function readLine(line: Line, request: BatchRequest, customIds: CustomIds): ManifestEntry {
  const refuse = (code: ErrorCode, message: string, details: { param?: string; customId?: string } = {}): ManifestEntry => ({
    kind: "refused",
    refused: { code, message, param: details.param ?? null, line: line.number, custom_id: details.customId ?? null },
  });
  if (line.kind === "tooLong") return refuse("line_too_long", `the line is longer than ${limits.manifestLineBytes} bytes`);
  if (line.kind === "notUtf8") return refuse("invalid_json_line", "the line isn't UTF-8");
  const value = parseObject(line.text);
  if (value === null) return refuse("invalid_json_line", "the line isn't a JSON object");
  const customId = typeof value["custom_id"] === "string" ? value["custom_id"].slice(0, limits.customIdCharacters) : undefined;
  const named = customId === undefined ? {} : { customId };
  const parsed = manifestLine.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const param = issue?.code === "unrecognized_keys" ? issue.keys[0] : issue?.path.join(".");
    return refuse("invalid_line", issue?.message ?? "the line doesn't fit", {
      ...named,
      ...(param === undefined || param === "" ? {} : { param }),
    });
  }
  const { custom_id, ...own } = parsed.data;
  const lacking = lackingField(request, own);
  if (lacking !== null) return refuse("invalid_line", `neither the line nor the batch has a ${lacking}`, { ...named, param: lacking });
  if (customIds.seen(custom_id))
    return refuse("duplicate_custom_id", "an earlier line has the same custom_id", { ...named, param: "custom_id" });
  const shown = "image" in own ? { image: own.image } : { images: own.images };
  return { kind: "item", item: { custom_id, line: line.number, ...shown, ...itemWords(request, own) } };
}

type OwnWords = Pick<ManifestLine, "question" | "prompt" | "labels">;

/** What the task can't do without, where neither the line nor the batch brings it. */
function lackingField({ task, question, prompt, labels }: BatchRequest, own: OwnWords): keyof OwnWords | null {
  if (task === "vqa") return (own.question ?? question) === null ? "question" : null;
  if (task === "prompt") return (own.prompt ?? prompt) === undefined ? "prompt" : null;
  if (task === "classify") return (own.labels ?? labels) === undefined ? "labels" : null;
  return null;
}

/** Of what the line brings, what its task looks at. */
function itemWords({ task, question }: BatchRequest, own: OwnWords): Pick<Item, "question" | "prompt" | "labels"> {
  return {
    question: task === "vqa" ? (own.question ?? question) : null,
    ...(task === "prompt" && own.prompt !== undefined ? { prompt: own.prompt } : {}),
    ...(task === "classify" && own.labels !== undefined ? { labels: own.labels } : {}),
  };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : null;
  } catch {
    return null;
  }
}

const inputCodes: Partial<Record<ErrorCode, ErrorCode>> = {
  storage_not_found: "manifest_not_found",
  storage_forbidden: "manifest_forbidden",
  storage_invalid_location: "manifest_not_found",
  storage_refused: "manifest_forbidden",
};

/** Says of the input's own refusals what they mean for a batch. */
async function* asInput(input: string, entries: AsyncGenerator<ManifestEntry>): AsyncGenerator<ManifestEntry> {
  try {
    yield* entries;
  } catch (error) {
    const code = error instanceof CodedError ? inputCodes[error.code] : undefined;
    throw code === undefined ? error : new CodedError(code, `${input}: ${errorText(error)}`, { cause: error });
  }
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
