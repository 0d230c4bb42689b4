/** How many items a second each model's chunks make here, while any of them runs: what the worker announces, for estimates. Advisory: nothing is decided by it. */
import { performance } from "node:perf_hooks";

/** Of what is older than so much running time, half counts. */
const halvedAfterMs = 5 * 60_000;
/** Less says nothing. */
const leastMs = 2_000;

export class Rates {
  readonly #models = new Map<string, Rate>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  chunkStarted(model: string): void {
    this.#of(model).turn(this.#nowMs(), 1);
  }

  chunkEnded(model: string): void {
    this.#of(model).turn(this.#nowMs(), -1);
  }

  /** It ran: neither copied nor reused. */
  itemDone(model: string): void {
    this.#of(model).items += 1;
  }

  /** Null while too little has run. */
  perSecond(model: string): number | null {
    return this.#of(model).perSecond(this.#nowMs());
  }

  #of(model: string): Rate {
    const rate = this.#models.get(model) ?? new Rate();
    this.#models.set(model, rate);
    return rate;
  }
}

class Rate {
  items = 0;
  #busyMs = 0;
  #running = 0;
  #sinceMs = 0;

  turn(nowMs: number, by: 1 | -1): void {
    if (this.#running > 0) this.#busyMs += nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
    this.#running += by;
    if (this.#busyMs < halvedAfterMs) return;
    this.#busyMs /= 2;
    this.items /= 2;
  }

  perSecond(nowMs: number): number | null {
    const busyMs = this.#busyMs + (this.#running > 0 ? nowMs - this.#sinceMs : 0);
    return busyMs < leastMs || this.items === 0 ? null : (this.items * 1_000) / busyMs;
  }
}
