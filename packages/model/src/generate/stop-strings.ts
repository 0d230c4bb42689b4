/**
 * Strings that end a text. Owns finding and cutting; works on the decoded text of all new tokens, never on single ones: a stop string may begin and end
 * anywhere in a token, and a character may be spread over several.
 */
export interface StopStrings {
  readonly isStopped: (tokens: readonly number[]) => boolean;
  /** The text before the first stop string, all of it where none came. */
  readonly textOf: (tokens: readonly number[]) => string;
}

/** Null where there are none. `decode` skips special tokens, so no stop string is found in their names. */
export function stopStrings(stops: readonly string[], decode: (tokens: readonly number[]) => string): StopStrings | null {
  if (stops.length === 0) return null;
  const firstIn = (text: string): number => Math.min(...stops.map((stop) => text.indexOf(stop)).map((at) => (at === -1 ? Infinity : at)));
  return {
    isStopped: (tokens) => firstIn(decode(tokens)) < Infinity,
    textOf: (tokens) => {
      const text = decode(tokens);
      return text.slice(0, firstIn(text));
    },
  };
}
