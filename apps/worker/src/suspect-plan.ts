/**
 * What a plan touches that may end its process: a support image, a stretch of the manifest, an image that a dry run looks at. Where the plan is suspect (a process died
 * over it) each is noted in Redis before; what ended three processes isn't touched any more. Owns the words of the notes, and the errors of what is convicted.
 */
import { CodedError } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";

export type Touched =
  /** `place`: of an example of several images. */
  | { readonly kind: "example"; readonly index: number; readonly place: number | null }
  /** So many lines were read before: a long manifest isn't charged for deaths at several places of it. */
  | { readonly kind: "manifest"; readonly line: number }
  /** Of a dry run's sample. */
  | { readonly kind: "image"; readonly at: number };

export interface PlanClaim {
  readonly id: string;
  readonly attempt: string;
  readonly suspect: boolean;
  readonly convicted: readonly string[];
}

export interface PlanNotes {
  /** One thing at a time, and each noted. */
  readonly suspect: boolean;
  /**
   * What is touched next; null: nothing any more that could be charged. Throws poison_item (an image) or poison_manifest where that is convicted, and aborted where
   * another claim plans the batch by now.
   */
  touch(what: Touched | null): Promise<void>;
  /** Touches it for as long as the work takes; what comes behind it is nobody's fault. */
  during<Result>(what: Touched, work: () => Promise<Result>): Promise<Result>;
  /** As `touch`, at the first line of each stretch; null between. */
  read(lines: number): Promise<void> | null;
  /** Another claim plans the batch by now. */
  isOvertaken(): boolean;
}

const stretchLines = 10_000;

export function takePlanNotes(queue: Pick<Queue, "notePlan">, { id, attempt, suspect, convicted }: PlanClaim): PlanNotes {
  let overtaken = false;
  const touch = async (what: Touched | null): Promise<void> => {
    if (!suspect) return;
    const guilty = what === null ? undefined : convicted.find((each) => isAbout(each, what));
    if (guilty !== undefined) throw conviction(guilty);
    if (await queue.notePlan({ id, attempt, what: what === null ? null : wordsOf(what) })) return;
    overtaken = true;
    throw new CodedError("aborted", `${id}: another worker plans it by now`);
  };
  return {
    suspect,
    touch,
    during: async (what, work) => {
      await touch(what);
      try {
        return await work();
      } finally {
        await touch(null);
      }
    },
    read: (lines) => (suspect && lines % stretchLines === 0 ? touch({ kind: "manifest", line: lines }) : null),
    isOvertaken: () => overtaken,
  };
}

function wordsOf(what: Touched): string {
  switch (what.kind) {
    case "example":
      return `example ${what.index} ${what.place ?? "-"}`;
    case "manifest":
      return `manifest ${what.line}`;
    case "image":
      return `image ${what.at}`;
  }
}

/** A reader is ahead of the line that it gave: a manifest with a stretch that kills is left from its beginning on. */
function isAbout(convicted: string, what: Touched): boolean {
  return what.kind === "manifest" ? convicted.startsWith("manifest ") : convicted === wordsOf(what);
}

function conviction(words: string): CodedError {
  const [kind, first] = words.split(" ");
  if (kind !== "manifest") return new CodedError("poison_item", "the worker's process died three times while it decoded this image alone");
  const place = `lines ${Number(first) + 1} to ${Number(first) + stretchLines}`;
  return new CodedError(
    "poison_manifest",
    `the worker's process died three times while it read the manifest alone, each time about ${place}`,
  );
}
