/** Reads one of the service's own JSON objects, parsed by its schema. What doesn't fit is our own fault, and never a caller's. */
import { CodedError, isCoded } from "@flamboyance/contracts";
import { formatLocation, type Location } from "./location.ts";
import type { Storage } from "./storage.ts";

/** Null where there is no such object. Throws passing faults as they are, and internal_error for bytes that aren't ours. */
export async function readJson<Value>(
  storage: Pick<Storage, "read">,
  location: Location,
  schema: { readonly parse: (value: unknown) => Value },
  signal: AbortSignal,
): Promise<Value | null> {
  let bytes: Uint8Array;
  try {
    ({ bytes } = await storage.read(location, { signal }));
  } catch (error) {
    if (isCoded(error, "storage_not_found")) return null;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch (error) {
    throw new CodedError("internal_error", `${formatLocation(location)} isn't what was written there`, { cause: error });
  }
}
