/** The command line's environment: where the service is and with which key, and the Hub's address and token. The only reader of it. */
import { homedir } from "node:os";
import { join } from "node:path";
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

export const defaultHubEndpoint = "https://huggingface.co";
/** Where downloads of the Hub are kept, below the home folder. */
export const defaultCacheFolder = ".cache/flamboyance/hub";

/** HF_ENDPOINT and HF_TOKEN, the Hub's own names; the cache is `--cache`, or in the home folder. */
export function hubSettings(
  environment: Readonly<Record<string, string | undefined>>,
  cache: string | undefined,
): { readonly endpoint: string; readonly token?: string; readonly cacheFolder: string } {
  const endpoint = (environment["HF_ENDPOINT"] || defaultHubEndpoint).replace(/\/+$/, "");
  if (!/^https?:\/\/./.test(endpoint) || !URL.canParse(endpoint)) throw new UsageError("HF_ENDPOINT isn't an http:// or https:// address");
  const token = environment["HF_TOKEN"];
  if (token !== undefined && token !== "" && !token.startsWith("hf_"))
    throw new UsageError("HF_TOKEN isn't a token of the Hub: those begin with hf_");
  return { endpoint, cacheFolder: cache ?? join(homedir(), defaultCacheFolder), ...(token === undefined || token === "" ? {} : { token }) };
}

/** The environment of this process. */
export function processEnvironment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}
