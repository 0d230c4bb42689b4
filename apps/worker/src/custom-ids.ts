/**
 * Which custom_ids a manifest has shown. Owns how many are remembered: at most 16 bytes each, and past 16 million no further one (a stated bound of memory: 256 MiB),
 * though a later duplicate of a remembered one is still found.
 *
 * Two different ids with equal hashes would pass for duplicates: one chance in 23 million at ten million ids. Whoever makes up such ids refuses their own lines.
 */
import { HashedTexts } from "./hashed-texts.ts";

const mostRemembered = 16_000_000;

export class CustomIds implements Disposable {
  readonly #ids = new HashedTexts({ most: mostRemembered, numbered: false });

  get sizeBytes(): number {
    return this.#ids.sizeBytes;
  }

  [Symbol.dispose](): void {
    this.#ids[Symbol.dispose]();
  }

  /** True where the id was remembered before. */
  seen(customId: string): boolean {
    return this.#ids.find(customId) !== null;
  }
}
