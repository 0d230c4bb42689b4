/** The environment's variables that say where Redis is, for every process that opens a queue. */
import { z } from "zod";

export const redisVariables = z.object({
  REDIS_URL: z
    .url({ protocol: /^rediss?$/ })
    .default("redis://127.0.0.1:6379")
    .describe("Redis, as redis://[user:password@]host:port[/database]."),
  FLAMBOYANCE_REDIS_PREFIX: z
    .string()
    .regex(/^[a-z0-9-]+$/)
    .default("flamboyance")
    .describe("First word of every Redis key."),
});

/** As `openQueue` takes it. */
export function redisOf(variables: z.infer<typeof redisVariables>): { readonly url: string; readonly prefix: string } {
  return { url: variables.REDIS_URL, prefix: variables.FLAMBOYANCE_REDIS_PREFIX };
}
