/**
 * Who did what, when, and what came of it: a line for each request that changes something or that a key wasn't good for, beside the log of all answers and under a name
 * of its own (`log: "audit"`), so that it can be kept apart and longer. Owns what such a line holds: names and ids, never a body, a key or a header.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";

declare module "fastify" {
  interface FastifyRequest {
    /** What the request made, where its path doesn't name it: a batch, a key. */
    made: string | null;
  }
}

/** On every route of this scope. These lines are written whatever other lines are left out, unless nothing is. */
export function audit(app: FastifyInstance): void {
  const level = app.log.level === "silent" ? "silent" : "info";
  app.decorateRequest("made", null);
  app.addHook("onResponse", (request, reply, done) => {
    const { statusCode: status } = reply;
    const refused = status === 401 || status === 403;
    if (refused || (request.method !== "GET" && request.method !== "HEAD")) {
      request.log.child({ log: "audit" }, { level }).info(
        {
          action: actionOf(request),
          outcome: status < 400 ? "done" : refused ? "refused" : "failed",
          status,
          tenant: request.caller?.tenant ?? null,
          key: request.caller?.key ?? null,
          subject: request.made ?? subjectOf(request),
          from: request.ip,
        },
        "audit",
      );
    }
    done();
  });
}

/** The route's name in the OpenAPI document. */
function actionOf({ routeOptions, method }: FastifyRequest): string {
  const { schema, url } = routeOptions;
  if (schema !== undefined && "operationId" in schema && typeof schema.operationId === "string") return schema.operationId;
  return `${method} ${url ?? "nowhere"}`;
}

/** What the path names, as it came: bounded, since nobody may have looked at it. */
function subjectOf({ params }: FastifyRequest): string | null {
  const [first] = typeof params === "object" && params !== null ? Object.values<unknown>({ ...params }) : [];
  return typeof first === "string" ? first.slice(0, 200) : null;
}
