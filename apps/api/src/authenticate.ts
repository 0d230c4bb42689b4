/**
 * Who is calling, and whether their key may: for every route below /v1, before its body is read. Each route names the scope that it asks for (`config: { scope }`);
 * one that doesn't can't be registered, so that none is open by mistake.
 */
import { CodedError, type Scope } from "@flamboyance/contracts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Caller } from "./caller.ts";
import type { KeyRing } from "./recognise-key.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Whose key was sent; null outside /v1, and where it wasn't recognised. */
    caller: Caller | null;
  }
  interface FastifyContextConfig {
    /** What a key must be allowed to. */
    scope?: Scope;
  }
}

/** Asks for a key on every route of this scope. */
export function authenticate(app: FastifyInstance, keyRing: Pick<KeyRing, "recognise">): void {
  app.decorateRequest("caller", null);
  app.addHook("onRoute", ({ url, config }) => {
    if (config?.scope === undefined) throw new Error(`${url} names no scope`);
  });
  app.addHook("onRequest", async (request) => {
    const caller = await identify(keyRing, request);
    request.caller = caller;
    const { scope } = request.routeOptions.config;
    if (scope === undefined || !caller.scopes.includes(scope)) {
      throw new CodedError("scope_missing", `This key may not do this: it lacks the scope ${scope ?? "of this route"}.`);
    }
  });
}

/** The caller, on a route behind `authenticate`. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === null) throw new Error(`${request.url} isn't behind a key`);
  return request.caller;
}

async function identify(keyRing: Pick<KeyRing, "recognise">, request: FastifyRequest): Promise<Caller> {
  const key = /^bearer +(\S+) *$/i.exec(request.headers.authorization ?? "")?.[1];
  if (key === undefined) throw new CodedError("authentication_required", "Send a key: `Authorization: Bearer <key>`.");
  const caller = await keyRing.recognise(key, request.waiting);
  if (caller === null) throw new CodedError("invalid_api_key", "This key isn't known, has ended or was revoked.");
  return caller;
}
