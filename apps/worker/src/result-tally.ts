/** What result lines add to a batch's counts. Owns no bytes: these are the file's, not a line's. */
import { lineRan, type ResultLine, type Tally } from "@flamboyance/contracts";

export const noTally: Tally = { completed: 0, failed: 0, input_tokens: 0, cached_tokens: 0, output_tokens: 0, stored_bytes: 0 };

export function addTallies(one: Tally, other: Tally): Tally {
  return {
    completed: one.completed + other.completed,
    failed: one.failed + other.failed,
    input_tokens: one.input_tokens + other.input_tokens,
    cached_tokens: one.cached_tokens + other.cached_tokens,
    output_tokens: one.output_tokens + other.output_tokens,
    stored_bytes: one.stored_bytes + other.stored_bytes,
  };
}

/** An answer that was copied or reused cost no tokens. */
export function tallyOf(line: ResultLine): Tally {
  const body = line.response?.body;
  if (body === undefined || !("usage" in body)) return { ...noTally, failed: 1 };
  if (!lineRan(line)) return { ...noTally, completed: 1 };
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = body.usage;
  return {
    ...noTally,
    completed: 1,
    input_tokens: prompt_tokens,
    cached_tokens: prompt_tokens_details.cached_tokens,
    output_tokens: completion_tokens,
  };
}
