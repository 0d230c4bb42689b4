/**
 * Which items of a plan show and ask what an earlier one does: told by 64 bits of a hash, as a hint. Whoever follows it compares before an answer is copied, so two
 * different items with equal hashes cost a look and nothing else.
 * Owns the memory: at most 24 bytes for each of the first four million different items (a stated bound: 96 MiB); duplicates of later ones run by themselves.
 */
import { hash } from "node:crypto";
import type { Item } from "@flamboyance/contracts";

const mostRemembered = 4_000_000;
const tables = 256;
/** Full to three quarters, a table becomes half as large again: 12 bytes a slot make 16 to 24 bytes an item. */
const fullest = 0.75;
const growth = 1.5;

export class FirstItems {
  readonly #tables = Array.from({ length: tables }, () => new PlaceTable());
  readonly #most: number;
  #remembered = 0;

  constructor(most: number = mostRemembered) {
    this.#most = most;
  }

  get sizeBytes(): number {
    return this.#tables.reduce((sum, table) => sum + table.sizeBytes, 0);
  }

  /** The place of the first item like this one; null where it is the first, or that isn't remembered. */
  find(item: Item, place: number): number | null {
    const { custom_id: _id, line: _line, number: _number, ...shownAndAsked } = item;
    const digest = hash("sha1", JSON.stringify(shownAndAsked), "buffer");
    const table = this.#tables[digest[8] ?? 0];
    // Never 0: that marks an empty slot.
    const [high, low] = [digest.readUInt32LE(0), digest.readUInt32LE(4) || 1];
    const found = table?.find(high, low) ?? null;
    if (found === null && this.#remembered < this.#most) {
      table?.add(high, low, place);
      this.#remembered += 1;
    }
    return found;
  }
}

class PlaceTable {
  #slots = new Uint32Array(3 * 16); // (slots, 3): high and low word of a hash, place; a low word of 0 is an empty slot
  #used = 0;

  get sizeBytes(): number {
    return this.#slots.byteLength;
  }

  find(high: number, low: number): number | null {
    const at = this.#slotOf(high, low);
    return this.#slots[at + 1] === 0 ? null : (this.#slots[at + 2] ?? 0);
  }

  add(high: number, low: number, place: number): void {
    this.#slots.set([high, low, place], this.#slotOf(high, low));
    this.#used += 1;
    if (this.#used <= (this.#slots.length / 3) * fullest) return;
    const old = this.#slots;
    this.#slots = new Uint32Array(3 * Math.ceil((old.length / 3) * growth));
    for (let at = 0; at < old.length; at += 3) {
      const slot = old.subarray(at, at + 3);
      if (slot[1] !== 0) this.#slots.set(slot, this.#slotOf(slot[0] ?? 0, slot[1] ?? 0));
    }
  }

  #slotOf(high: number, low: number): number {
    const slots = this.#slots;
    for (let at = 3 * (low % (slots.length / 3)); ; at = at + 3 === slots.length ? 0 : at + 3) {
      if (slots[at + 1] === 0 || (slots[at] === high && slots[at + 1] === low)) return at;
    }
  }
}
