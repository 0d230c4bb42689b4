/**
 * Runs scripts: by their hash, with the text where Redis doesn't know it yet, and with the answer parsed.
 * Refuses to go on where this Redis isn't believed: `unavailable` becomes `service_unavailable`.
 */
import { CodedError } from "@flamboyance/contracts";
import type { Redis } from "ioredis";
import { z } from "zod";
import { unavailable } from "./connect.ts";
import { keyOf } from "./layout.ts";
import type { Script } from "./scripts/prelude.ts";

export type RunScript = <Answer>(script: Script, args: readonly (string | number | Buffer)[], answer: z.ZodType<Answer>) => Promise<Answer>;

export function scriptRunner(redis: Redis, prefix: string): RunScript {
  const sentinel = keyOf(prefix, "sentinel");
  return async (script, args, answer) => {
    const reply = await evaluate(redis, script, sentinel, args);
    const parsed: unknown = JSON.parse(reply);
    if (refusal.safeParse(parsed).success) throw notBelieved();
    return answer.parse(parsed);
  };
}

/** Redis answers, and what it holds isn't the whole truth. */
export function notBelieved(): CodedError {
  return new CodedError("service_unavailable", "The service's state in Redis is missing or being rebuilt.");
}

const refusal = z.object({ kind: z.literal("unavailable") });

async function evaluate(redis: Redis, script: Script, sentinel: string, args: readonly (string | number | Buffer)[]): Promise<string> {
  try {
    return z.string().parse(await redis.evalsha(script.sha1, 1, sentinel, ...args));
  } catch (error) {
    if (!isUnknownScript(error)) throw unavailable(error);
  }
  try {
    return z.string().parse(await redis.eval(script.text, 1, sentinel, ...args));
  } catch (error) {
    throw unavailable(error);
  }
}

function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError" && error.message.startsWith("NOSCRIPT");
}
