/** Who is calling: the bearer key's tenant, for every route below /v1. Refuses requests without a known key, before their bodies are read. */
import { CodedError, type TenantKey } from "@flamboyance/contracts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { recogniseKey } from "./recognise-key.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The entry of the key that was sent; null outside /v1. */
    tenantKey: TenantKey | null;
  }
}

/** Asks for a key on every route of this scope. */
export function authenticate(scope: FastifyInstance, keys: readonly TenantKey[]): void {
  scope.decorateRequest("tenantKey", null);
  scope.addHook("onRequest", (request, _reply, done) => {
    try {
      request.tenantKey = identify(keys, request.headers.authorization);
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  });
}

/** The caller, on a route behind `authenticate`. */
export function callerOf(request: FastifyRequest): TenantKey {
  if (request.tenantKey === null) throw new Error(`${request.url} isn't behind a key`);
  return request.tenantKey;
}

function identify(keys: readonly TenantKey[], header: string | undefined): TenantKey {
  const key = /^bearer +(\S+) *$/i.exec(header ?? "")?.[1];
  if (key === undefined) throw new CodedError("authentication_required", "Send a key: `Authorization: Bearer <key>`.");
  const found = recogniseKey(keys, key);
  if (found === null) throw new CodedError("invalid_api_key", "This key isn't known.");
  return found;
}
