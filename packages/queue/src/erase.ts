/** Takes a whole prefix out of a Redis that others use too: for demos and tests that borrowed one. Never part of the service. */
import { connect, reached } from "./connect.ts";

const keysAtOnce = 500;

/** Removes every key that begins with `<prefix>:`, in small slices. Nothing may be using the prefix. Throws `service_unavailable`. */
export async function eraseQueue({ url, prefix, signal }: { url: string; prefix: string; signal?: AbortSignal }): Promise<void> {
  const redis = await connect(url, signal);
  try {
    let cursor = "0";
    do {
      signal?.throwIfAborted();
      const [next, keys] = await reached(redis.scan(cursor, "MATCH", `${prefix.replaceAll(/[\\*?[\]]/g, "\\$&")}:*`, "COUNT", keysAtOnce));
      if (keys.length > 0) await reached(redis.unlink(...keys));
      cursor = next;
    } while (cursor !== "0");
  } finally {
    redis.disconnect();
  }
}
