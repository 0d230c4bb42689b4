/** Tenants and their keys, for whoever has a key with the scope `admin`. */
import {
  apiKey,
  apiKeyList,
  newApiKey,
  tenant,
  tenantList,
  type ApiKey,
  type CreateApiKeyInput,
  type NewApiKey,
  type PutTenantInput,
  type RotateApiKeyInput,
  type Tenant,
} from "@flamboyance/contracts";
import { request, type Connection } from "./request.ts";
import type { Signalled } from "./batches.ts";

export interface Tenants {
  /** Says what the tenant may read and write, its weight and its quotas; what was said before is replaced. Holds for what is submitted from then on. */
  put(name: string, facts: PutTenantInput, options?: Signalled): Promise<Tenant>;
  get(name: string, options?: Signalled): Promise<Tenant>;
  /** Every tenant, by name, page by page. */
  all(options?: Signalled): AsyncGenerator<Tenant, void>;
}

export interface Keys {
  /** Makes a key; this answer alone holds it. A call that gets no answer may have made one: list, and revoke what is too much. */
  create(facts: CreateApiKeyInput, options?: Signalled): Promise<NewApiKey>;
  /** Every key, or a tenant's, by tenant and age. */
  all(options?: Signalled & { readonly tenant?: string | undefined }): AsyncGenerator<ApiKey, void>;
  /** A new key in the place of an old one, which ends after the grace. Rejects with `conflict` where it has ended or was rotated before. */
  rotate(id: string, facts?: RotateApiKeyInput, options?: Signalled): Promise<NewApiKey>;
  /** Ends a key for good. */
  revoke(id: string, options?: Signalled): Promise<ApiKey>;
}

export function tenantsOf(connection: Connection): Tenants {
  const path = (name: string) => `/v1/tenants/${encodeURIComponent(name)}`;
  return {
    put: (name, body, { signal } = {}) => request(connection, { method: "PUT", path: path(name), body, answer: tenant, signal }),
    get: (name, { signal } = {}) => request(connection, { method: "GET", path: path(name), answer: tenant, signal }),
    all: ({ signal } = {}) =>
      pages((after) =>
        request(connection, { method: "GET", path: "/v1/tenants", query: { after, limit: 100 }, answer: tenantList, signal }),
      ),
  };
}

export function keysOf(connection: Connection): Keys {
  const path = (id: string, rest: string) => `/v1/keys/${encodeURIComponent(id)}${rest}`;
  return {
    create: (body, { signal } = {}) => request(connection, { method: "POST", path: "/v1/keys", body, answer: newApiKey, signal }),
    all: ({ tenant: owner, signal } = {}) =>
      pages((after) =>
        request(connection, { method: "GET", path: "/v1/keys", query: { tenant: owner, after, limit: 100 }, answer: apiKeyList, signal }),
      ),
    rotate: (id, body = {}, { signal } = {}) =>
      request(connection, { method: "POST", path: path(id, "/rotate"), body, answer: newApiKey, signal }),
    revoke: (id, { signal } = {}) => request(connection, { method: "POST", path: path(id, "/revoke"), answer: apiKey, signal }),
  };
}

interface Page<Value> {
  readonly data: readonly Value[];
  readonly last_id: string | null;
  readonly has_more: boolean;
}

async function* pages<Value>(read: (after: string | undefined) => Promise<Page<Value>>): AsyncGenerator<Value, void> {
  for (let after: string | undefined; ;) {
    const { data, last_id: last, has_more: more } = await read(after);
    yield* data;
    if (!more || last === null) return;
    after = last;
  }
}
