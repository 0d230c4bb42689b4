/** Which of a manifest's columns hold our fields, as the request's `columns` says. Owns the renaming; what a field may hold is the line's schema's to say. */
import { columns as columnsSchema, type Columns } from "@flamboyance/contracts";

export interface ColumnMap {
  /** The columns that are read; null means all: then one that isn't ours is refused with its row, so that a misspelt one isn't silently left out. */
  readonly read: ReadonlySet<string> | null;
  /** The columns that the request names, each with the request's field that does: they must be there. */
  readonly expected: ReadonlyMap<string, string>;
  /** A row's values by our names. */
  readonly fieldsOf: (row: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>;
}

export function mapColumns(columns: Columns | undefined): ColumnMap {
  if (columns === undefined) return { read: null, expected: new Map(), fieldsOf: (row) => row };
  const given = new Map(Object.entries(columns).flatMap(([field, column]) => (column === undefined ? [] : [[field, column] as const])));
  const pairs = Object.keys(columnsSchema.shape).map((field) => ({ field, column: given.get(field) ?? field }));
  return {
    read: new Set(pairs.map(({ column }) => column)),
    expected: new Map(given.entries().map(([field, column]) => [column, `columns.${field}`])),
    fieldsOf: (row) => {
      const fields: Record<string, unknown> = {};
      for (const { field, column } of pairs) if (Object.hasOwn(row, column)) fields[field] = row[column];
      return fields;
    },
  };
}
