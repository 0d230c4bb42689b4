/**
 * Which items of a plan show and ask what an earlier one does: told by a hash, as a hint. Whoever follows it compares before an answer is copied, so two
 * different items with equal hashes cost a look and nothing else.
 * Owns what of an item counts, and how many are remembered: at most 24 bytes for each of the first four million different items (a stated bound: 96 MiB);
 * duplicates of later ones run by themselves.
 */
import type { Item } from "@flamboyance/contracts";
import { HashedTexts } from "./hashed-texts.ts";

const mostRemembered = 4_000_000;

export class FirstItems implements Disposable {
  readonly #items: HashedTexts;

  constructor(most: number = mostRemembered) {
    this.#items = new HashedTexts({ most, numbered: true });
  }

  get sizeBytes(): number {
    return this.#items.sizeBytes;
  }

  [Symbol.dispose](): void {
    this.#items[Symbol.dispose]();
  }

  /** The place of the first item like this one; null where it is the first, or that isn't remembered. */
  find(item: Item, place: number): number | null {
    const { custom_id: _id, line: _line, number: _number, ...shownAndAsked } = item;
    return this.#items.find(JSON.stringify(shownAndAsked), place);
  }
}
