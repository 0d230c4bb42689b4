/**
 * Who may run beside whom in this process: chunks together, a suspect chunk alone. Owns the order: whoever wants to be alone waits for those inside, and nobody enters
 * meanwhile. Refuses to know why.
 */

export interface Place {
  /** Gives the place up for one without company; resolves when everybody else has left. Rejects with the signal's reason. */
  alone(signal: AbortSignal): Promise<void>;
  /** Safe to call twice. */
  leave(): void;
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
