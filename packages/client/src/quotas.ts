/** What the caller's tenant has of its quotas. */
import { quotaUse, type QuotaUse } from "@flamboyance/contracts";
import { request, type Connection } from "./request.ts";

export interface Quotas {
  get(options?: { readonly signal?: AbortSignal | undefined }): Promise<QuotaUse>;
}

export function quotasOf(connection: Connection): Quotas {
  return {
    get: ({ signal } = {}) => request(connection, { method: "GET", path: "/v1/quotas", answer: quotaUse, signal }),
  };
}
