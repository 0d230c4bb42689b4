/** Where the repository lies, for the checks that read its files. */
import { resolve } from "node:path";

export const root = resolve(import.meta.dirname, "../..");
