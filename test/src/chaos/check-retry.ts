/** Holds a round's retry against what is promised: it ran just the failed items, it reads as one with the batch that it follows, and that one is as it was. Owns what a retry's answer must be. */
import { linePosition, lineSucceeded, type End, type ResultLine } from "@flamboyance/contracts";
import { brokenOfBatch, same, type Broken, type Expected, type SeenBatch } from "./check-batch.ts";

/** What came of the owner's asking. */
export type SeenRetry =
  /** With this code. */
  | { readonly kind: "refused"; readonly code: string }
  | {
      readonly kind: "ran";
      readonly retry: SeenBatch;
      /** All lines of the lineage, read as one. */
      readonly merged: readonly ResultLine[];
      /** The followed batch's, read before the retry was asked for. */
      readonly endBefore: End | null;
    };

/** `followed`: the batch that was retried; `expected`: what was expected of it. */
export function brokenOfRetry(seen: SeenRetry, followed: SeenBatch, expected: Expected, mayExpire: boolean): Broken[] {
  const broken: Broken[] = [];
  const hold = (holds: boolean, what: string): void => {
    if (!holds) broken.push({ law: "wrong", what: `retry: ${what}` });
  };
  const { end, lines } = followed;
  const places = [...lines.keys()].filter((place) => runsAgain(lines[place]));
  const answer = end?.files === null ? "conflict" : places.length === 0 ? "nothing_to_retry" : "ran";
  const answered = seen.kind === "refused" ? seen.code : seen.kind;
  hold(answered === answer, `answered with ${answered}, not with ${answer}`);
  if (seen.kind === "refused") return broken;

  const { retry, merged, endBefore } = seen;
  const of = brokenOfBatch(retry, {
    ends: mayExpire ? ["completed", "expired"] : ["completed"],
    customIds: places.map((place) => lines[place]?.custom_id ?? null),
    may: (place) => expected.may(places[place] ?? -1),
    rowLost: expected.rowLost,
  });
  broken.push(...of.map(({ law, what }) => ({ law, what: `retry: ${what}` })));
  const numbered = retry.lines.every((line, place) => numberOf(line) === numberOf(lines[places[place] ?? -1]));
  hold(numbered, "a line has another number than its item has");
  hold(retry.batch.retry_of === followed.batch.id, `it says that it retries ${retry.batch.retry_of}`);

  const newest = lines.map((line, place) => retry.lines[places.indexOf(place)] ?? line);
  const wrong = newest.findIndex((line, place) => !same(line, merged[place]));
  hold(wrong === -1, `read as one, line ${wrong} is ${JSON.stringify(merged[wrong])}, the newest is ${JSON.stringify(newest[wrong])}`);
  hold(merged.length === newest.length, `${newest.length} lines read as one are ${merged.length}`);
  hold(same(endBefore, end), `end.json was ${JSON.stringify(endBefore)} and is ${JSON.stringify(end)}`);
  return broken;
}

/** It failed, and is an item: not a line that the plan refused. */
function runsAgain(line: ResultLine | undefined): boolean {
  return line !== undefined && !lineSucceeded(line) && linePosition(line.id)?.refusedLine === null;
}

function numberOf(line: ResultLine | undefined): number | null {
  return line === undefined ? null : (linePosition(line.id)?.item ?? null);
}
