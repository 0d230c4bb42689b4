/** A row of a manifest before anyone has looked at what it says: what every form's reader gives, and what the check of a line takes. */
import type { ErrorCode } from "@flamboyance/contracts";

/** `line` counts from 1: where the row begins in the file; in a Parquet file the row's number. */
export type Row =
  | { readonly kind: "fields"; readonly line: number; readonly fields: Readonly<Record<string, unknown>> }
  | { readonly kind: "refused"; readonly line: number; readonly code: ErrorCode; readonly message: string };
