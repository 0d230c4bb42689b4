/**
 * Points at which a test holds, stops or kills a process, before a step is taken: how a room is made to ask, and what is asked. Which steps those are is each app's.
 * For tests alone: without an address nothing is wrapped, so nothing is asked and nothing costs.
 */

/** Asks before the step `point`; `about` is what the step was given first. Resolves when the step may be taken. */
export type AskBefore = (point: string, about: unknown) => Promise<void>;

/** `GET <url>?point=<step>&about=<batch, key or hash>&pid=<process>`; whatever answers, and where nobody does, the step goes on. */
export function askingAt(url: string, pid: number): AskBefore {
  return async (point, about) => {
    const asked = new URL(url);
    for (const [name, value] of Object.entries({ point, about: nameOf(about), pid: String(pid) })) asked.searchParams.set(name, value);
    // Whoever asked for this may be gone: then nobody holds anything.
    const answer = await fetch(asked).catch(() => null);
    await answer?.body?.cancel();
  };
}

/** The room, with an ask before each of these steps. */
export function withAsks<Room extends object>(room: Room, steps: readonly (keyof Room)[], ask: AskBefore): Room {
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

/** A batch's id, an object's key; of several objects the first one's. */
function nameOf(about: unknown): string {
  if (typeof about === "string") return about;
  if (typeof about !== "object" || about === null) return "";
  if (Array.isArray(about)) return nameOf(about[0]);
  if ("key" in about) return String(about.key);
  return "id" in about ? String(about.id) : "";
}
