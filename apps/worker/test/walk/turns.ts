/**
 * Whose step is next: every call of an actor to Redis or S3 waits here until it is chosen, so that a walk decides the interleaving and nothing else does.
 * Owns actors and their ends: a crashed one is never chosen again. Refuses to know what a step does.
 */

export interface Actor {
  readonly name: string;
  /** Steps that wait to be chosen. */
  readonly waiting: Set<Step>;
  state: "running" | "ended" | "crashed";
}

interface Step {
  readonly what: string;
  readonly take: () => void;
}

export class Turns {
  readonly #actors = new Set<Actor>();
  #changed = Promise.withResolvers<void>();

  /** Starts an actor; its work calls the rooms that `roomOf` wraps. What it throws ends it. */
  async start(name: string, work: (actor: Actor) => Promise<unknown>): Promise<Actor> {
    const actor: Actor = { name, waiting: new Set(), state: "running" };
    this.#actors.add(actor);
    void work(actor)
      .catch(() => {})
      .then(() => {
        if (actor.state === "running") actor.state = "ended";
        this.#actors.delete(actor);
        this.#tell();
      });
    await this.#quiet(actor);
    return actor;
  }

  get actors(): Actor[] {
    return [...this.#actors].filter(({ state }) => state === "running");
  }

  crash(actor: Actor): void {
    actor.state = "crashed";
    actor.waiting.clear();
    this.#actors.delete(actor);
  }

  /** Lets the actor take one of its steps, and waits until it stands before its next one. Answers what it took. */
  async take(actor: Actor, choose: (count: number) => number): Promise<string> {
    const steps = [...actor.waiting];
    const step = steps[choose(steps.length)];
    if (step === undefined) throw new Error(`${actor.name} waits for nothing`);
    actor.waiting.delete(step);
    step.take();
    await this.#quiet(actor);
    return step.what;
  }

  /** The room as the actor sees it: each call of these methods is a step. What a call gives that has methods of its own is wrapped alike. */
  roomOf<Room extends object>(actor: Actor, room: Room, isStep: (name: string) => boolean): Room {
    return new Proxy(room, {
      get: (target, name): unknown => {
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== "function" || typeof name !== "string" || !isStep(name)) return method;
        return async (...given: unknown[]): Promise<unknown> => {
          await this.turn(actor, `${name} ${about(given[0])}`);
          const answer: unknown = await Reflect.apply(method, target, given);
          return hasMethods(answer) ? this.roomOf(actor, answer, () => true) : answer;
        };
      },
    });
  }

  /** A step of the actor, before it is taken. */
  turn(actor: Actor, what: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    // The dead wait for ever.
    if (actor.state === "crashed") return promise;
    actor.waiting.add({ what, take: resolve });
    this.#tell();
    return promise;
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  async #quiet(actor: Actor): Promise<void> {
    while (actor.state === "running" && actor.waiting.size === 0) await this.#changed.promise;
  }
}

function about(given: unknown): string {
  if (typeof given === "string") return given;
  if (typeof given !== "object" || given === null) return "";
  if (Array.isArray(given)) return about(given[0]);
  return "key" in given ? String(given.key) : "chunk" in given ? String(given.chunk) : "";
}

/** A lease, a rebuild: what is held and asked later. */
function hasMethods(answer: unknown): answer is object {
  return typeof answer === "object" && answer !== null && Object.values(answer).some((value) => typeof value === "function");
}
