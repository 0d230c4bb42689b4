/**
 * Who may run beside whom in this process: chunks together, a suspect chunk alone; a suspect plan alone of everything. Owns the order: whoever wants to be alone waits for those inside, and nobody enters
 * meanwhile. Refuses to know why.
 */

export interface Place {
  /** Gives the place up for one without company; resolves when everybody else has left. Rejects with the signal's reason. */
  alone(signal: AbortSignal): Promise<void>;
  /** Safe to call twice. */
  leave(): void;
}

/** Of one process: each kind of job beside its own kind. */
export interface Rooms {
  readonly plans: Solitude;
  readonly chunks: Solitude;
  readonly finalizes: Solitude;
}

/** Does the work in the room, beside others; handed back where the signal comes before there is a place. */
export async function inRoom<Result>(
  room: Solitude,
  signal: AbortSignal,
  work: (place: Place) => Promise<Result>,
): Promise<Result | "hand_back"> {
  const place = await room.enter(signal).catch(() => null);
  if (place === null) return "hand_back";
  try {
    return await work(place);
  } finally {
    place.leave();
  }
}

/** As `Place.alone`, in several rooms, one after another: who waits in one holds nobody up in the next. The caller leaves. */
export async function aloneIn(rooms: readonly Solitude[], signal: AbortSignal): Promise<Pick<Place, "leave">> {
  const places: Place[] = [];
  const leave = (): void => places.forEach((place) => place.leave());
  try {
    for (const room of rooms) {
      const place = await room.enter(signal);
      places.push(place);
      await place.alone(signal);
    }
    return { leave };
  } catch (error) {
    leave();
    throw error;
  }
}

export class Solitude {
  /** Places of those inside, beside each other or one alone. */
  readonly #inside = new Set<Place>();
  /** Those who wait, in order: to enter, or to be alone. */
  readonly #waiting = new Set<{ readonly alone: boolean; readonly admit: () => void }>();
  #isAlone = false;

  /** Resolves when nobody is alone or about to be; rejects with the signal's reason. */
  async enter(signal: AbortSignal): Promise<Place> {
    const place: Place = {
      alone: (given) => {
        this.#leave(place);
        return this.#wait(place, true, given);
      },
      leave: () => this.#leave(place),
    };
    await this.#wait(place, false, signal);
    return place;
  }

  #leave(place: Place): void {
    if (!this.#inside.delete(place)) return;
    this.#isAlone = false;
    this.#admit();
  }

  #wait(place: Place, alone: boolean, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = () => {
      this.#waiting.delete(waiter);
      reject(signal.reason);
      this.#admit();
    };
    const waiter = {
      alone,
      admit: () => {
        signal.removeEventListener("abort", giveUp);
        this.#inside.add(place);
        this.#isAlone = alone;
        resolve();
      },
    };
    this.#waiting.add(waiter);
    signal.addEventListener("abort", giveUp, { once: true });
    this.#admit();
    return promise;
  }

  #admit(): void {
    // Those who want to be alone come before who enters.
    const soloist = [...this.#waiting].find(({ alone }) => alone);
    if (this.#isAlone || (soloist !== undefined && this.#inside.size > 0)) return;
    for (const waiter of soloist === undefined ? [...this.#waiting] : [soloist]) {
      this.#waiting.delete(waiter);
      waiter.admit();
    }
  }
}
