/** A cache bounded by bytes; what was used longest ago goes first. Owns the bound and its figures; refuses computing what it holds. */
export class BoundedCache<Value extends { readonly sizeBytes: number }> {
  readonly #entries = new Map<string, Value>();
  readonly #maxBytes: number;
  #bytes = 0;
  #hits = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get figures(): { readonly bytes: number; readonly hits: number } {
    return { bytes: this.#bytes, hits: this.#hits };
  }

  values(): Iterable<Value> {
    return this.#entries.values();
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Counts a hit and makes the entry the youngest. */
  use(key: string): Value | undefined {
    const found = this.#entries.get(key);
    if (found === undefined) return undefined;
    this.#hits += 1;
    this.#entries.delete(key);
    this.#entries.set(key, found);
    return found;
  }

  /** The new entry stays even where it alone is larger than the bound: its owner is about to use it. */
  put(key: string, value: Value): void {
    this.#drop(key);
    this.#entries.set(key, value);
    this.#bytes += value.sizeBytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#maxBytes || oldest === key) break;
      this.#drop(oldest);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #drop(key: string): void {
    const found = this.#entries.get(key);
    if (found === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= found.sizeBytes;
  }
}
