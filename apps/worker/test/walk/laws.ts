/** What must hold of a batch at any moment of a walk and at its end. Owns the memory of what was promised: what was shown, what was answered, how it ended. */
import { createHash } from "node:crypto";
import {
  end as endSchema,
  isEnded,
  lineSucceeded,
  plan as planSchema,
  resultLine,
  seal as sealSchema,
  type End,
  type RecordStatus,
  type ResultLine,
} from "@flamboyance/contracts";
import type { BatchRecord, Queue } from "@flamboyance/queue";
import { batchKeys } from "@flamboyance/storage";
import type { MemoryStorage } from "./memory-storage.ts";

export interface Laws {
  /** A cancel was answered as done. */
  cancelled(): void;
  /** A reader was shown these lines, the batch's first ones. */
  shown(lines: readonly string[]): void;
  /** The deadline has passed. */
  expired(): void;
  /** A worker that plans died, or seems to have. */
  planSilent(): void;
  /** A loss that the walk brought about: until it is rebuilt Redis's record says nothing. */
  lost(): void;
  /** Looks at S3 where it changed, and at Redis where the last step may have changed it. */
  look(redis: boolean): Promise<void>;
  /** How many plans were the batch's, one after the other: more than one after a loss. */
  plans(): number;
  /** Of a batch that is settled, at the walk's end. */
  close(): void;
}

export const items = 8;

export function openLaws(queue: Queue, memory: MemoryStorage, id: string, broken: (what: string) => void): Laws {
  const keys = batchKeys(id);
  let cancelled = false;
  let expired = false;
  let losses = 0;
  let plansSilent = 0;
  let shown: readonly string[] = [];
  let ended: RecordStatus | null = null;
  const adopted = new Set<string>();
  /** The parts that a seal fixed. */
  const sealed = new Map<string, string>();
  const object = (key: string): Buffer | null => memory.objects.get(key)?.bytes ?? null;
  // Names that are read here are written once.
  const read = new Map<string, ResultLine[]>();
  const linesOf = (key: string): ResultLine[] => {
    const bytes = object(key);
    if (bytes === null) return [];
    const known = read.get(key);
    if (known !== undefined) return known;
    const texts = bytes
      .toString()
      .split("\n")
      .filter((line) => line !== "");
    const lines = texts.map((line) => resultLine.parse(JSON.parse(line)));
    read.set(key, lines);
    return lines;
  };
  const bytesBelow = (prefix: string): number =>
    [...memory.objects].reduce(
      (sum, [key, { bytes }]) => (key.startsWith(prefix) && !key.endsWith("/plan.json") ? sum + bytes.length : sum),
      0,
    );
  let lookedAt = -1;
  const endOf = (): End | null => {
    const bytes = object(keys.end);
    return bytes === null ? null : endSchema.parse(JSON.parse(bytes.toString()));
  };

  const lookAtRecord = async (record: BatchRecord): Promise<void> => {
    const { status, plan, outcome } = record;
    if (ended !== null && status !== ended) broken(`ended as ${ended}, and is ${status}`);
    if (isEnded(status)) ended = status;
    const end = endOf();
    if (isEnded(status) && end?.status !== status) broken(`Redis says ${status}, end.json ${end?.status}`);
    if (cancelled && ["validating", "in_progress", "paused", "expiring"].includes(status))
      broken(`an answered cancel is forgotten: ${status}`);
    if (status === "finalizing" && cancelled && outcome === "completed") broken("an answered cancel is sealed as completed");
    if (outcome === "expired" && !expired) broken("expired before its deadline");
    // One death that nobody noted, and three that were.
    if (outcome === "failed" && plansSilent < 4) broken(`failed without a reason, after ${plansSilent} deaths`);
    if (plan !== null) adopted.add(plan);
    if (isEnded(status) && record.storedBytes !== end?.stored_bytes)
      broken(`Redis says that ${record.storedBytes} bytes stay, end.json ${end?.stored_bytes}`);
    if (plan === null || record.settled || isEnded(status)) return;
    if (object(keys.plan(plan).manifest) === null) broken("the live plan isn't whole in S3");
    const parts = await queue.parts({ id });
    const chosen = parts.flatMap((part, chunk) => (part === null ? [] : linesOf(keys.part(plan, chunk, part.attempt, part.cut))));
    const inParts = parts.map((part, chunk) => (part === null ? 0 : (object(keys.part(plan, chunk, part.attempt, part.cut))?.length ?? 0)));
    const stored = inParts.reduce((sum, bytes) => sum + bytes, bytesBelow(keys.plan(plan).folderPrefix));
    if (record.storedBytes !== stored) broken(`it is said to keep ${record.storedBytes} bytes, and keeps ${stored}`);
    const done = chosen.filter(lineSucceeded).length;
    if (record.completed !== done || record.failed !== chosen.length - done) {
      broken(`counts ${record.completed} and ${record.failed}, its parts hold ${done} and ${chosen.length - done}`);
    }
    if (record.recorded !== parts.filter((part) => part !== null).length) broken(`recorded ${record.recorded} of ${JSON.stringify(parts)}`);
    if (record.seal !== null) {
      const fixed = JSON.stringify([outcome, parts]);
      if ((sealed.get(record.seal) ?? fixed) !== fixed) broken(`sealed with ${sealed.get(record.seal)}, and is ${fixed} now`);
      sealed.set(record.seal, fixed);
    }
    if (record.confirmed > record.frontier) broken("confirmed past the frontier");
    if (outcome === "completed" && parts.some((part) => part === null || part.cut)) broken("completed without all its parts");
  };

  const lookAtEnd = (end: End): void => {
    if (cancelled && end.status !== "cancelled") broken(`a cancel was answered, it ended as ${end.status}`);
    if (end.files === null) {
      if (end.status === "completed") broken("completed without results");
      if (shown.length > 0) broken("lines were shown, and there are none");
      return;
    }
    const files = [end.files.output, end.files.errors];
    for (const { key, sha256 } of files) {
      const bytes = object(key);
      if (bytes === null || createHash("sha256").update(bytes).digest("hex") !== sha256) broken(`${key} isn't what end.json names`);
    }
    const sealKey = [...memory.objects.keys()].find((key) => key.startsWith(keys.sealPrefix) && key.endsWith(`-${end.seal}.json`)) ?? "";
    const { plan } = sealSchema.parse(JSON.parse(object(sealKey)?.toString() ?? ""));
    const stay = bytesBelow(keys.plan(plan ?? "").folderPrefix) + bytesBelow(keys.final(end.seal).folderPrefix);
    if (end.stored_bytes !== stay) broken(`end.json says that ${end.stored_bytes} bytes stay, and ${stay} do`);
    const lines = files.flatMap(({ key }) => linesOf(key));
    const numbers = lines.map(({ custom_id }) => Number(custom_id)).toSorted((one, other) => one - other);
    if (JSON.stringify(numbers) !== JSON.stringify(Array.from({ length: items }, (_, item) => item))) broken(`items ${numbers.join(" ")}`);
    const done = lines.filter(lineSucceeded);
    const counts = { total: lines.length, completed: done.length, failed: lines.length - done.length };
    if (JSON.stringify(end.counts) !== JSON.stringify(counts))
      broken(`end.json counts ${JSON.stringify(end.counts)}, lines ${JSON.stringify(counts)}`);
    // What ran and failed is quarantined: so many deaths are possible.
    if (end.status === "completed" && lines.some(({ response }) => response === null)) broken("completed with lines that never ran");
    const texts = new Set(lines.map((line) => JSON.stringify(line)));
    if (shown.some((line) => !texts.has(JSON.stringify(JSON.parse(line))))) broken("a line that was shown isn't the end's");
  };

  return {
    cancelled: () => void (cancelled = true),
    expired: () => void (expired = true),
    plans: () => adopted.size,
    lost: () => void (losses += 1),
    planSilent: () => void (plansSilent += 1),
    shown: (lines) => {
      const [fewer, more] = lines.length < shown.length ? [lines, shown] : [shown, lines];
      if (fewer.some((line, index) => line !== more[index])) broken("a reader is shown another line than before");
      shown = more;
    },
    look: async (redis) => {
      const end = memory.version() === lookedAt ? null : endOf();
      lookedAt = memory.version();
      if (end !== null) lookAtEnd(end);
      // Not believed, it says nothing.
      const record = redis ? await queue.batch(id).catch(() => null) : null;
      if (record !== null) await lookAtRecord(record);
    },
    close: () => {
      const end = endOf();
      if (end === null) return broken("settled without an end");
      lookAtEnd(end);
      if (ended !== null && end.status !== ended) broken(`ended as ${ended}, end.json says ${end.status}`);
      if (losses === 0 && ended === null) broken("Redis never heard of the end");
      if (end.files === null) return;
      const sealKey = [...memory.objects.keys()].find((key) => key.startsWith(keys.sealPrefix) && key.endsWith(`-${end.seal}.json`));
      const { plan } = sealSchema.parse(JSON.parse(object(sealKey ?? "")?.toString() ?? "{}"));
      // What a retry would copy its items from.
      if (plan === null) broken("ended with files, and without a plan");
      else planSchema.parse(JSON.parse(object(keys.plan(plan).manifest)?.toString() ?? "{}"));
    },
  };
}
