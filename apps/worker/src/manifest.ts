/**
 * A batch's input, whatever its form, as items and refused lines in order. Owns what a valid line is; each line is read once, here. How a form becomes rows is the business of `rows/`.
 * Refuses to decide whether a refused line fails the batch: that is plan's.
 */
import {
  CodedError,
  isCoded,
  limits,
  manifestLine,
  plainWords,
  type BatchRequest,
  type ErrorCode,
  type Item,
  type ManifestLine,
  type RefusedLine,
} from "@flamboyance/contracts";
import { bareEtag, formatLocation, inputForm, parseGlob, parseLocation, type ManifestForm, type Storage } from "@flamboyance/storage";
import { CustomIds } from "./custom-ids.ts";
import { mayRead, refusalOf, type Owner } from "./fetch.ts";
import { mapColumns } from "./rows/columns.ts";
import { readRows } from "./rows/read-rows.ts";
import type { Row } from "./rows/row.ts";

export type ManifestEntry =
  | { readonly kind: "item"; readonly item: Item }
  | { readonly kind: "refused"; readonly refused: Omit<RefusedLine, "before_item"> };

/**
 * Every line once, in pieces as they come. Throws what the input itself is guilty of (manifest_not_found, manifest_forbidden, manifest_unreadable, manifest_too_large,
 * invalid_header), passing faults as they are. A prefix's objects become items named by their keys.
 */
export async function* readManifest(
  storage: Storage,
  request: BatchRequest,
  { serviceBucket, signal }: { readonly serviceBucket: string; readonly signal: AbortSignal },
): AsyncGenerator<readonly ManifestEntry[]> {
  try {
    const owner = { access: request.access, serviceBucket };
    const form = inputForm(request.input);
    const location = parseLocation(request.input);
    // Of a prefix, what is listed.
    const read = form.kind === "prefix" ? { ...location, key: parseGlob(request.input, request).prefix } : location;
    if (!mayRead(read, owner)) throw new CodedError("manifest_forbidden", "this place may not be used");
    if (form.kind === "prefix") yield* readPrefix(storage, request, signal);
    else {
      using customIds = new CustomIds();
      const columns = mapColumns(request.columns);
      const entryOf = (row: Row): ManifestEntry =>
        row.kind === "refused"
          ? { kind: "refused", refused: { code: row.code, message: row.message, param: null, line: row.line, custom_id: null } }
          : readRow(row.line, withLists(columns.fieldsOf(row.fields), form), request, owner, customIds);
      for await (const rows of readRows(storage, location, { form, columns, signal })) yield rows.map(entryOf);
    }
  } catch (error) {
    throw inputFailure(request.input, error);
  }
}

async function* readPrefix(storage: Storage, request: BatchRequest, signal: AbortSignal): AsyncGenerator<readonly ManifestEntry[]> {
  const lacking = lackingField(request, {});
  if (lacking !== null) {
    throw new CodedError("invalid_line", `a prefix's items bring no ${lacking}: the batch needs its own`, { param: lacking });
  }
  const glob = parseGlob(request.input, request);
  const { bucket, prefix } = glob;
  let line = 0;
  for await (const { key, etag } of storage.list({ bucket, key: prefix }, { signal })) {
    if (!glob.matches(key)) continue;
    line += 1;
    const shown = { image: formatLocation({ bucket, key }), ...etagOf(etag) };
    yield [{ kind: "item", item: { custom_id: key, line, ...shown, ...itemWords(request, {}) } }];
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** A cell can hold a list only as text: JSON's. What isn't one is left for the schema to refuse. */
function withLists(fields: Fields, { rows }: ManifestForm): Fields {
  if (rows === "jsonl") return fields;
  const lists: Record<string, unknown> = {};
  for (const field of ["images", "labels"]) {
    const list = typeof fields[field] === "string" ? parseList(fields[field]) : null;
    if (list !== null) lists[field] = list;
  }
  return { ...fields, ...lists };
}

function parseList(text: string): unknown[] | null {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function readRow(line: number, fields: Fields, request: BatchRequest, owner: Owner, customIds: CustomIds): ManifestEntry {
  const customId = typeof fields["custom_id"] === "string" ? fields["custom_id"].slice(0, limits.customIdCharacters) : null;
  const refuse = (code: ErrorCode, message: string, param: string | null): ManifestEntry => ({
    kind: "refused",
    refused: { code, message, param, line, custom_id: customId },
  });
  const parsed = manifestLine.safeParse(fields, { error: plainWords });
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const param = issue?.code === "unrecognized_keys" ? issue.keys[0] : issue?.path.join(".");
    return refuse("invalid_line", issue?.message ?? "the line doesn't fit", param === undefined || param === "" ? null : param);
  }
  const { custom_id, ...own } = parsed.data;
  const lacking = lackingField(request, own);
  if (lacking !== null) return refuse("invalid_line", `neither the line nor the batch has a ${lacking}`, lacking);
  for (const [place, image] of ("image" in own ? [own.image] : own.images).entries()) {
    const refusal = refusalOf(image, owner);
    if (refusal !== null) return refuse(refusal.code, refusal.message, "image" in own ? "image" : `images.${place}`);
  }
  if (customIds.seen(custom_id)) return refuse("duplicate_custom_id", "an earlier line has the same custom_id", "custom_id");
  const shown = "image" in own ? { image: own.image, ...etagOf(own.etag) } : { images: own.images };
  return { kind: "item", item: { custom_id, line, ...shown, ...itemWords(request, own) } };
}

/** Absent where none was told. */
function etagOf(told = ""): { readonly etag?: string } {
  const etag = told === "" ? "" : bareEtag(told);
  return etag === "" ? {} : { etag };
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

const inputCodes: Partial<Record<ErrorCode, ErrorCode>> = {
  storage_not_found: "manifest_not_found",
  storage_forbidden: "manifest_forbidden",
  storage_invalid_location: "manifest_not_found",
  storage_refused: "manifest_forbidden",
  manifest_forbidden: "manifest_forbidden",
  manifest_unreadable: "manifest_unreadable",
  manifest_too_large: "manifest_too_large",
  invalid_header: "invalid_header",
};

/** Says of the input's own refusals what they mean for a batch, and of which input; anything else as it is. */
function inputFailure(input: string, error: unknown): unknown {
  const code = isCoded(error) ? inputCodes[error.code] : undefined;
  if (code === undefined || !isCoded(error)) return error;
  const { param, line } = error;
  return new CodedError(code, `${input}: ${error.message}`, {
    ...(param === null ? {} : { param }),
    ...(line === null ? {} : { line }),
    cause: error,
  });
}
