/** Routes of those who say who may call: tenants and their keys. Each parses, asks the store, shows; what a process believed of what they changed it forgets. */
import {
  apiKey,
  apiKeyList,
  CodedError,
  createApiKey,
  errorBody,
  limits,
  newApiKey,
  plainName,
  putTenant,
  rotateApiKey,
  tenant,
  tenantList,
  type TenantKey,
} from "@flamboyance/contracts";
import type { FastifyPluginCallbackZod } from "fastify-type-provider-zod";
import { z } from "zod";
import type { KeyRing } from "./recognise-key.ts";
import type { TenantStore } from "./tenant-store.ts";

const failures = { "4xx": errorBody, "5xx": errorBody };
const config = { scope: "admin" } as const;
const tags = ["admin"];
const writeTimeoutMs = 10_000;
const id = z.string().max(limits.idCharacters);
const keyPath = z.object({ id });
const tenantPath = z.object({ tenant: plainName });
const pageQuery = z.strictObject({
  after: id.optional().describe("`last_id` of the page before."),
  limit: z.coerce.number().int().min(1).max(limits.listPage).default(20),
});

export interface AdminRoutesOptions {
  readonly store: TenantStore;
  readonly keyRing: Pick<KeyRing, "forget">;
  /** The service's own. No tenant is given it by its name; that no pattern opens it submit and fetch see to. */
  readonly bucket: string;
  /** The configuration's keys: their tenants are what these say, and can't be something else here. */
  readonly entries: readonly TenantKey[];
}

export const adminRoutes: FastifyPluginCallbackZod<AdminRoutesOptions> = (app, { store, keyRing, bucket, entries }, done) => {
  // A caller that hangs up doesn't stop a change half-way.
  const writing = () => AbortSignal.timeout(writeTimeoutMs);

  app.put(
    "/v1/tenants/:tenant",
    {
      config,
      schema: {
        operationId: "putTenant",
        summary: "Say what a tenant may read and write, and its share of the workers. Holds for what is submitted from then on.",
        tags,
        params: tenantPath,
        body: putTenant,
        response: { 200: tenant, ...failures },
      },
    },
    async (request) => {
      const { tenant: name } = request.params;
      if (entries.some((entry) => entry.tenant === name))
        throw new CodedError("conflict", `${name} is the configuration's own.`, { param: "tenant" });
      for (const right of ["read", "write"] as const) {
        const own = request.body[right].findIndex((pattern) => pattern === bucket || pattern.startsWith(`${bucket}/`));
        if (own !== -1)
          throw new CodedError("invalid_request", `${bucket} is the service's own bucket: no tenant's batches may touch it.`, {
            param: `${right}[${own}]`,
          });
      }
      const put = await store.putTenant(name, request.body, writing());
      keyRing.forget({ tenant: name });
      return put;
    },
  );

  app.get(
    "/v1/tenants",
    {
      config,
      schema: {
        operationId: "listTenants",
        summary: "The tenants, by name; without those of the configuration.",
        tags,
        querystring: pageQuery,
        response: { 200: tenantList, ...failures },
      },
    },
    async (request) => {
      const { data, hasMore } = await store.tenants(request.query, request.waiting);
      return { object: "list" as const, data, last_id: data.at(-1)?.tenant ?? null, has_more: hasMore };
    },
  );

  app.get(
    "/v1/tenants/:tenant",
    {
      config,
      schema: { operationId: "getTenant", summary: "One tenant.", tags, params: tenantPath, response: { 200: tenant, ...failures } },
    },
    async (request) => {
      const { tenant: name } = request.params;
      const found = await store.tenant(name, request.waiting);
      if (found === null) throw new CodedError("not_found", `There is no tenant ${name}.`, { param: "tenant" });
      return found;
    },
  );

  app.post(
    "/v1/keys",
    {
      config,
      schema: {
        operationId: "createKey",
        summary: "Make a key of a tenant. The answer is the only place where it stands.",
        tags,
        body: createApiKey,
        response: { 200: newApiKey, ...failures },
      },
    },
    async (request) => {
      const { tenant: owner, name, scopes, expires_in: seconds } = request.body;
      const expiresAt = seconds === undefined ? null : Math.floor(Date.now() / 1_000) + seconds;
      const made = await store.createKey({ tenant: owner, name, scopes, expires_at: expiresAt }, writing());
      request.made = made.id;
      return made;
    },
  );

  app.get(
    "/v1/keys",
    {
      config,
      schema: {
        operationId: "listKeys",
        summary: "Keys by tenant and age; without those of the configuration.",
        tags,
        querystring: pageQuery.extend({ tenant: plainName.optional().describe("Only this tenant's.") }),
        response: { 200: apiKeyList, ...failures },
      },
    },
    async (request) => {
      const { data, hasMore } = await store.keys(request.query, request.waiting);
      return { object: "list" as const, data, last_id: data.at(-1)?.id ?? null, has_more: hasMore };
    },
  );

  app.post(
    "/v1/keys/:id/rotate",
    {
      config,
      schema: {
        operationId: "rotateKey",
        summary: "Make a key in the place of this one, which ends after a grace.",
        tags,
        params: keyPath,
        body: rotateApiKey,
        response: { 200: newApiKey, ...failures },
      },
    },
    async (request) => {
      const made = await store.rotateKey(request.params.id, request.body.grace, writing());
      keyRing.forget({ id: request.params.id });
      request.made = `${request.params.id} → ${made.id}`;
      return made;
    },
  );

  app.post(
    "/v1/keys/:id/revoke",
    {
      config,
      schema: {
        operationId: "revokeKey",
        summary: "End a key for good. Every process knows it within FLAMBOYANCE_KEY_SECONDS.",
        tags,
        params: keyPath,
        response: { 200: apiKey, ...failures },
      },
    },
    async (request) => {
      const revoked = await store.revokeKey(request.params.id, writing());
      keyRing.forget({ id: request.params.id });
      return revoked;
    },
  );

  done();
};
