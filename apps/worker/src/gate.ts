/**
 * How much may be under way at once: a number of holders, and a weight (bytes) that they report once they know it.
 * Owns the queue before it, first come first served. Refuses to know what is held.
 *
 * The true weight is known only after the fact (an image's size after its fetch): what a holder enters with is a guess, and the holders may overshoot by theirs.
 */

export interface Pass {
  /** Sets what this holder weighs from now on. */
  weigh(weight: number): void;
  /** Safe to call twice. */
  release(): void;
}

export class Gate {
  readonly #holders: number;
  readonly #weight: number;
  readonly #waiting = new Set<() => void>();
  #held = 0;
  #heldWeight = 0;

  constructor(limits: { readonly holders: number; readonly weight?: number }) {
    this.#holders = limits.holders;
    this.#weight = limits.weight ?? Infinity;
  }

  get held(): number {
    return this.#held;
  }

  /** Resolves when there is room; rejects with the signal's reason. Weighs `entering` (default 0) until it is weighed. */
  async enter(signal: AbortSignal, entering = 0): Promise<Pass> {
    signal.throwIfAborted();
    if (this.#waiting.size > 0 || !this.#hasRoom()) await this.#turn(signal, entering);
    else this.#let(entering);
    let weight = entering;
    let released = false;
    return {
      weigh: (next) => {
        if (released) return;
        this.#heldWeight += next - weight;
        weight = next;
        this.#admit();
      },
      release: () => {
        if (released) return;
        released = true;
        this.#held -= 1;
        this.#heldWeight -= weight;
        this.#admit();
      },
    };
  }

  #hasRoom(): boolean {
    // A single heavy holder passes even where it weighs more than all may.
    return this.#held === 0 || (this.#held < this.#holders && this.#heldWeight < this.#weight);
  }

  #let(entering: number): void {
    this.#held += 1;
    this.#heldWeight += entering;
  }

  #turn(signal: AbortSignal, entering: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = () => {
      this.#waiting.delete(admitted);
      reject(signal.reason);
    };
    const admitted = () => {
      signal.removeEventListener("abort", giveUp);
      this.#let(entering);
      resolve();
    };
    this.#waiting.add(admitted);
    signal.addEventListener("abort", giveUp, { once: true });
    return promise;
  }

  #admit(): void {
    for (const admitted of this.#waiting) {
      if (!this.#hasRoom()) return;
      this.#waiting.delete(admitted);
      admitted();
    }
  }
}
