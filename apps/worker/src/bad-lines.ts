/** A manifest's refused lines as a batch shows them: the first ones, and how many more there were. */
import { limits, type LineError } from "@flamboyance/contracts";

export class BadLines {
  readonly #most: number;
  readonly #first: LineError[] = [];
  readonly #codes = new Map<string, number>();
  #count = 0;

  constructor(most: number = limits.lineErrorsShown) {
    this.#most = most;
  }

  get count(): number {
    return this.#count;
  }

  add(refused: LineError): void {
    this.#count += 1;
    this.#codes.set(refused.code, (this.#codes.get(refused.code) ?? 0) + 1);
    if (this.#first.length < this.#most) this.#first.push(lineErrorOf(refused));
  }

  /** What is kept of them. */
  first(): readonly LineError[] {
    return this.#first;
  }

  /** All of them by code, in the codes' order. */
  codes(): Record<string, number> {
    return Object.fromEntries([...this.#codes].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** As a failed batch's `errors`. */
  errors(): LineError[] {
    const shown = this.#first.slice(0, limits.lineErrorsShown);
    const more = this.#count - shown.length;
    if (more === 0) return shown;
    return [...shown, { code: "more_line_errors", message: `and ${more} more lines were refused`, param: null, line: null }];
  }
}

export const lineErrorOf = ({ code, message, param, line }: LineError): LineError => ({ code, message, param, line });
