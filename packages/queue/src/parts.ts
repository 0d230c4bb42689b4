/** Which part each chunk took, and how far readers may see. Owns the way from the packed string to part choices. */
import { CodedError, type PartChoice } from "@flamboyance/contracts";
import type { Redis } from "ioredis";
import { confirmAnswer } from "./answers.ts";
import { reached } from "./connect.ts";
import { keyOf, partBytes, partFlags } from "./layout.ts";
import type { Queue, UnconfirmedPart } from "./queue.ts";
import type { RunScript } from "./script.ts";
import { confirmFrontier } from "./scripts/confirm-frontier.ts";
import { unpackUlid } from "./ulid.ts";

type PartsPart = Pick<Queue, "parts" | "unconfirmedParts" | "confirmFrontier">;

export function partsOf({ redis, prefix, run, batch }: { redis: Redis; prefix: string; run: RunScript; batch: Queue["batch"] }): PartsPart {
  const read = async (id: string, from: number, until: number): Promise<(PartChoice | null)[]> => {
    if (until <= from) return [];
    const bytes = await reached(redis.getrangeBuffer(keyOf(prefix, "parts", id), from * partBytes, until * partBytes - 1));
    return Array.from({ length: until - from }, (_, index) => unpackPart(bytes.subarray(index * partBytes, (index + 1) * partBytes)));
  };

  return {
    async parts({ id, from = 0, count }) {
      const record = await batch(id);
      if (record === null || record.settled) return [];
      const found = await read(id, from, count === undefined ? record.chunks : Math.min(record.chunks, from + count));
      // Settled while they were read, the parts are forgotten: that must not pass for chunks that never had one.
      return found.includes(null) && (await batch(id))?.settled !== false ? [] : found;
    },

    async unconfirmedParts(id, limit = 10_000) {
      const record = await batch(id);
      if (record === null) return [];
      const { confirmed } = record;
      const until = Math.min(record.frontier, confirmed + limit);
      if (until <= confirmed) return [];
      const chunks = Array.from({ length: until - confirmed }, (_, index) => confirmed + index);
      const [parts, tallies] = await Promise.all([
        read(id, confirmed, until),
        reached(redis.hmget(keyOf(prefix, "tallies", id), ...chunks.map(String))),
      ]);
      const found: UnconfirmedPart[] = [];
      for (const [index, chunk] of chunks.entries()) {
        const part = parts[index];
        const tally = tallies[index];
        // Sealed or confirmed by another meanwhile: the rest isn't ours to confirm.
        if (part === undefined || part === null || tally === undefined || tally === null) break;
        found.push({ chunk, part, tally: parseTally(tally) });
      }
      return found;
    },

    async confirmFrontier({ id, epoch, chunks }) {
      const answer = await run(confirmFrontier, [id, epoch, chunks], confirmAnswer);
      return answer.kind === "confirmed";
    },
  };
}

function unpackPart(bytes: Buffer): PartChoice | null {
  const flags = bytes[0] ?? 0;
  if (bytes.length < partBytes || (flags & partFlags.has) === 0) return null;
  return { attempt: unpackUlid(bytes.subarray(1)), cut: (flags & partFlags.cut) !== 0 };
}

function parseTally(text: string): UnconfirmedPart["tally"] {
  // What was recorded before bytes were counted has none.
  const [completed, failed, input_tokens, cached_tokens, output_tokens, stored_bytes = 0] = text.split(" ").map(Number);
  if (
    completed === undefined ||
    failed === undefined ||
    input_tokens === undefined ||
    cached_tokens === undefined ||
    output_tokens === undefined
  ) {
    throw new CodedError("internal_error", "A tally in Redis can't be read.");
  }
  return { completed, failed, input_tokens, cached_tokens, output_tokens, stored_bytes };
}
