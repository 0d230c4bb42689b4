/**
 * How often a key may call, over all processes of the api. Owns what a refusal says; the counting is Redis's.
 * A limit is for fairness, not for safety: while Redis is away nobody is held up by it.
 */
import { CodedError } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import type { FastifyInstance } from "fastify";
import { callerOf } from "./authenticate.ts";
import { within } from "./metrics.ts";

/** So many seconds' calls may come at once. */
const burstSeconds = 10;

/** On every route of this scope, once it is known who calls. */
export function limitRates(app: FastifyInstance, queue: Pick<Queue, "allowCall">, perSecond: number): void {
  const burst = Math.max(1, Math.floor(perSecond * burstSeconds));
  app.addHook("onRequest", async (request, reply) => {
    const waitMs = await within(queue.allowCall({ who: callerOf(request).key, perSecond, burst }), 0);
    if (waitMs === 0) return;
    const seconds = Math.ceil(waitMs / 1_000);
    void reply.header("retry-after", String(seconds));
    throw new CodedError("rate_limited", `This key calls too often: ${perSecond} times a second at most. Try again in ${seconds} s.`);
  });
}
