/**
 * Which of a manifest's columns hold our fields, as the request's `columns` says. Owns the renaming, and which columns a table must have; what a field may hold is the line's
 * schema's to say.
 */
import { CodedError, columns as columnsSchema, type Columns } from "@flamboyance/contracts";

export interface ColumnMap {
  /** The columns that are read; null means all: then one that isn't ours is refused with its row, so that a misspelt one isn't silently left out. */
  readonly read: ReadonlySet<string> | null;
  /** Of a form that says its columns before its rows. */
  readonly expected: readonly ExpectedColumn[];
  /** A row's values by our names. */
  readonly fieldsOf: (row: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>;
}

/** One of these must be there: the request names it, or no row can do without. */
export interface ExpectedColumn {
  readonly oneOf: readonly string[];
  /** The request's field that names it, or could. */
  readonly param: string;
}

export function mapColumns(columns: Columns | undefined): ColumnMap {
  const given = new Map(
    Object.entries(columns ?? {}).flatMap(([field, column]) => (column === undefined ? [] : [[field, column] as const])),
  );
  const expected: ExpectedColumn[] = given
    .entries()
    .map(([field, column]) => ({ oneOf: [column], param: `columns.${field}` }))
    .toArray();
  for (const oneOf of [["custom_id"], ["image", "images"]])
    if (!oneOf.some((field) => given.has(field))) expected.push({ oneOf, param: `columns.${oneOf[0]}` });
  if (columns === undefined) return { read: null, expected, fieldsOf: (row) => row };
  const pairs = Object.keys(columnsSchema.shape).map((field) => ({ field, column: given.get(field) ?? field }));
  return {
    read: new Set(pairs.map(({ column }) => column)),
    expected,
    fieldsOf: (row) => {
      const fields: Record<string, unknown> = {};
      for (const { field, column } of pairs) if (Object.hasOwn(row, column)) fields[field] = row[column];
      return fields;
    },
  };
}

/** Throws invalid_header, once for the file, with the columns that there are. `line`: the header's, of a form that is text. */
export function checkHeader(names: readonly string[], expected: readonly ExpectedColumn[], line?: number): void {
  const missing = expected.filter(({ oneOf }) => !oneOf.some((name) => names.includes(name)));
  const [first] = missing;
  if (first === undefined) return;
  const wanted = missing.map(({ oneOf: [name, ...others] }) => [name, ...others.map((other) => `(or ${other})`)].join(" "));
  const message = `there is no column ${wanted.join(", and none ")}; there are ${namesShown(names)}${line === undefined ? "" : separatorHint(names)}`;
  throw new CodedError("invalid_header", message, { param: first.param, ...(line === undefined ? {} : { line }) });
}

/** Spreadsheets of many countries call a CSV what is separated by semicolons. */
function separatorHint([name = "", ...others]: readonly string[]): string {
  return others.length === 0 && /[;,\t|]/.test(name) ? ", as one column: a .csv is separated by commas, a .tsv by tabs" : "";
}

const mostNames = 20;
const mostCharacters = 60;

/** A file that has no header shows its first row here. */
function namesShown(names: readonly string[]): string {
  const named = names.filter((name) => name !== "");
  if (named.length === 0) return "none with a name";
  const shown = named.slice(0, mostNames).map((name) => (name.length > mostCharacters ? `${name.slice(0, mostCharacters)}…` : name));
  return named.length > mostNames ? `${shown.join(", ")} and ${named.length - mostNames} more` : shown.join(", ");
}
