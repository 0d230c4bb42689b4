/**
 * Points at which a test holds, stops or kills this process: before each writing step of the queue and of S3.
 * Owns which steps those are; refuses to know how it is asked (contracts). Without FLAMBOYANCE_FAILPOINTS nothing is wrapped, so nothing is asked and nothing costs.
 */
import { askingAt, withAsks } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import type { Storage } from "@flamboyance/storage";

interface Rooms {
  readonly queue: Queue;
  readonly storage: Storage;
}

const queueSteps: readonly (keyof Queue)[] = [
  "reserve",
  "reserveRetry",
  "admit",
  "submit",
  "takeNumber",
  "applyCancel",
  "applyPause",
  "applyResume",
  "applyPriority",
  "applyDeadline",
  "startDelete",
  "forgetDeleted",
  "dispatch",
  "repair",
];
const storageSteps: readonly (keyof Storage)[] = ["write"];

/** The rooms with an ask at `url` before each step. */
export function withFailpoints(rooms: Rooms, url: string | null): Rooms {
  if (url === null) return rooms;
  const ask = askingAt(url, process.pid);
  return { queue: withAsks(rooms.queue, queueSteps, ask), storage: withAsks(rooms.storage, storageSteps, ask) };
}
