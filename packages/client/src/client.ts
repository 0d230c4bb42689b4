/** The client: one address, one key. Runs wherever `fetch` does (Node 20 and later, browsers). */
import { keysOf, tenantsOf, type Keys, type Tenants } from "./admin.ts";
import { batchesOf, type Batches } from "./batches.ts";
import { FlamboyanceError } from "./failure.ts";
import { modelsOf, type Models } from "./models.ts";
import { quotasOf, type Quotas } from "./quotas.ts";

export interface ClientOptions {
  /** Where the api answers, as `https://flamboyance.example`; a path in front of /v1 is kept. */
  readonly baseUrl: string;
  readonly apiKey?: string | null;
  /** Another fetch: a proxy's, a test's. */
  readonly fetch?: typeof fetch;
  /** How often a call that met a passing fault is sent again: 4. */
  readonly retries?: number;
  /** How long one answer may take: 60 s. */
  readonly timeoutMs?: number;
}

export interface Client {
  readonly batches: Batches;
  readonly models: Models;
  readonly quotas: Quotas;
  readonly tenants: Tenants;
  readonly keys: Keys;
}

/**
 * Throws `configuration_invalid` where `baseUrl` isn't an http(s) address. Every method rejects with a FlamboyanceError, or with its signal's reason.
 *
 *     const client = createClient({ baseUrl: "http://127.0.0.1:8080", apiKey });
 *     const batch = await client.batches.create({ model: "demo", task: "caption", input: "s3://photos/2024/" });
 *     for await (const line of client.batches.results(batch.id, { follow: true })) console.log(line.custom_id, line.response);
 */
export function createClient({ baseUrl, apiKey = null, fetch: ask, retries = 4, timeoutMs = 60_000 }: ClientOptions): Client {
  const connection = {
    baseUrl: rootOf(baseUrl),
    apiKey,
    // Looked up at each call, so that a test or a polyfill may still replace it.
    fetch: ask ?? ((...call: Parameters<typeof fetch>) => globalThis.fetch(...call)),
    retries,
    timeoutMs,
  };
  return {
    batches: batchesOf(connection),
    models: modelsOf(connection),
    quotas: quotasOf(connection),
    tenants: tenantsOf(connection),
    keys: keysOf(connection),
  };
}

/** Without a slash at its end, and without the /v1 that OpenAI's clients want there. */
function rootOf(baseUrl: string): string {
  if (!URL.canParse(baseUrl) || !/^https?:/.test(baseUrl)) {
    throw new FlamboyanceError(`${JSON.stringify(baseUrl)} isn't an http:// or https:// address.`, {
      code: "configuration_invalid",
      status: null,
    });
  }
  return baseUrl.replace(/\/+$/, "").replace(/\/v1$/, "");
}
