/** Reads one of our own JSON objects from S3, parsed by its schema. */
import { isCoded } from "@flamboyance/contracts";
import type { Storage } from "@flamboyance/storage";
import type { z } from "zod";

/** Null where there is no such object. Throws passing faults, and what the schema says of bytes that aren't ours. */
export async function readStored<Schema extends z.ZodType>(
  storage: Storage,
  location: { readonly bucket: string; readonly key: string },
  schema: Schema,
  signal: AbortSignal,
): Promise<z.output<Schema> | null> {
  try {
    const { bytes } = await storage.read(location, { signal });
    return schema.parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch (error) {
    if (isCoded(error, "storage_not_found")) return null;
    throw error;
  }
}
