/**
 * Whether the caller still waits for the answer: work for one who has hung up, or was answered that it takes too long, is given up.
 * Not Fastify's `request.signal`: that one fires as soon as a request's body was read, for then its stream closes.
 */
import type { FastifyInstance } from "fastify";

declare module "fastify" {
  interface FastifyRequest {
    /** Fires when the answer was sent, or can't be any more. */
    waiting: AbortSignal;
  }
}

/** On every route of this scope, before any other hook. */
export function watchCallers(app: FastifyInstance): void {
  app.decorateRequest("waiting");
  app.addHook("onRequest", (request, reply, done) => {
    const gone = new AbortController();
    request.waiting = gone.signal;
    reply.raw.once("close", () => gone.abort());
    done();
  });
}
