/**
 * Points at which a test holds, stops or kills this process: before each writing step of the queue and of S3.
 * Owns which steps those are and what is asked. Without FLAMBOYANCE_FAILPOINTS nothing is wrapped, so nothing is asked and nothing costs.
 */
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

/** The rooms with an ask before each step: `GET <url>?point=<step>&about=<batch or key>&pid=<process>`, whose answer lets the step go on. */
export function withFailpoints(rooms: Rooms, url: string | null): Rooms {
  if (url === null) return rooms;
  const ask = (point: string, about: unknown) => askAt(url, point, nameOf(about));
  return { queue: asking(rooms.queue, queueSteps, ask), storage: asking(rooms.storage, storageSteps, ask) };
}

function asking<Room extends object>(
  room: Room,
  steps: readonly (keyof Room)[],
  ask: (point: string, about: unknown) => Promise<void>,
): Room {
  const asked: ReadonlySet<unknown> = new Set(steps);
  return new Proxy(room, {
    get: (target, name): unknown => {
      const step: unknown = Reflect.get(target, name);
      if (typeof step !== "function" || !asked.has(name)) return step;
      return async (...given: unknown[]): Promise<unknown> => {
        await ask(String(name), given[0]);
        return Reflect.apply(step, target, given);
      };
    },
  });
}

/** A batch's id, an object's key. */
function nameOf(about: unknown): string {
  if (typeof about === "string") return about;
  if (typeof about !== "object" || about === null) return "";
  if ("key" in about) return String(about.key);
  return "id" in about ? String(about.id) : "";
}

async function askAt(url: string, point: string, about: string): Promise<void> {
  const asked = new URL(url);
  for (const [name, value] of Object.entries({ point, about, pid: String(process.pid) })) asked.searchParams.set(name, value);
  // Whoever asked for this may be gone: then nobody holds anything.
  const answer = await fetch(asked).catch(() => null);
  await answer?.body?.cancel();
}
