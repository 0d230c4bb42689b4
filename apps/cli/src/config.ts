/** The command line's environment: where the service is and with which key. The only reader of it. */
import { createClient, type Client } from "@flamboyance/client";
import { UsageError } from "./failure.ts";

export const defaultUrl = "http://127.0.0.1:8080";

/** `--url`, then FLAMBOYANCE_URL. The key comes from FLAMBOYANCE_API_KEY alone: a flag would show in every process list. */
export function connect(environment: Readonly<Record<string, string | undefined>>, url: string | undefined): Client {
  const apiKey = environment["FLAMBOYANCE_API_KEY"];
  if (apiKey === undefined || apiKey === "")
    throw new UsageError("FLAMBOYANCE_API_KEY is not set: the key that `flamboyance key create` showed.");
  // Two more tries are patience enough for somebody who sits there.
  return createClient({ baseUrl: url ?? (environment["FLAMBOYANCE_URL"] || defaultUrl), apiKey, retries: 2 });
}

/** The environment of this process. */
export function processEnvironment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}
