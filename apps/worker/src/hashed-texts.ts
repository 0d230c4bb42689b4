/**
 * Texts that were seen before, by a hash of 64 bits each and, where that is wanted, a number beside it. Owns the hash and the memory: of 8 or 12 bytes a slot,
 * at most twice that for each text from some thousands on. Two different texts with equal hashes pass for one: what that costs is the user's to judge.
 *
 * The hashes lie in many small tables, so that a table that grows needs little room beside itself while it does. What a table took goes back when it is outgrown
 * or disposed of, and not with some later collection: of many texts that is a hundred megabytes, which a worker would hold while it has other things to do.
 */
const tables = 64;
/** Full to three quarters, a table becomes half as large again: 1⅓ to 2 slots a text. */
const fullest = 0.75;
const growth = 1.5;

export interface HashedTextsOptions {
  /** Further texts aren't remembered; those that are, are still found. */
  readonly most: number;
  /** Whether a number is kept with each. */
  readonly numbered: boolean;
}

export class HashedTexts implements Disposable {
  readonly #tables: readonly HashTable[];
  readonly #most: number;
  #remembered = 0;

  constructor({ most, numbered }: HashedTextsOptions) {
    this.#most = most;
    this.#tables = Array.from({ length: tables }, () => new HashTable(numbered ? 3 : 2));
  }

  /** Of the tables together. */
  get sizeBytes(): number {
    return this.#tables.reduce((sum, table) => sum + table.sizeBytes, 0);
  }

  /** Nothing can be found any more. */
  [Symbol.dispose](): void {
    for (const table of this.#tables) table.free();
  }

  /** The number that was remembered with this text (0 where none are kept); null where it wasn't there, and is remembered now with this one. */
  find(text: string, number = 0): number | null {
    hashInto(words, text);
    const [place, high, word] = words;
    const table = this.#tables[place % tables];
    if (table === undefined) return null;
    // Never 0: that marks an empty slot.
    const low = word || 1;
    const found = table.find(high, low);
    if (found === null && this.#remembered < this.#most) {
      table.add(high, low, number);
      this.#remembered += 1;
    }
    return found;
  }
}

type Words = [place: number, high: number, low: number];
const words: Words = [0, 0, 0];

/**
 * Three times MurmurHash3's 32 bits (Appleby, public domain) from as many seeds, a UTF-16 unit where it takes four bytes, in one walk over the text: of 12 letters it
 * takes a tenth of a microsecond, of 120 less than SHA-1 does.
 */
function hashInto(into: Words, text: string): void {
  let [one, two, three] = [1, 2, 3];
  for (let at = 0; at < text.length; at++) {
    const scrambled = Math.imul(text.charCodeAt(at), 0xcc9e2d51);
    const unit = Math.imul((scrambled << 15) | (scrambled >>> 17), 0x1b873593);
    one = mixed(one, unit);
    two = mixed(two, unit);
    three = mixed(three, unit);
  }
  into[0] = finished(one ^ text.length);
  into[1] = finished(two ^ text.length);
  into[2] = finished(three ^ text.length);
}

function mixed(state: number, unit: number): number {
  const next = state ^ unit;
  return (Math.imul((next << 13) | (next >>> 19), 5) + 0xe6546b64) | 0;
}

function finished(state: number): number {
  let left = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  left = Math.imul(left ^ (left >>> 13), 0xc2b2ae35);
  return (left ^ (left >>> 16)) >>> 0;
}

class HashTable {
  readonly #width: 2 | 3;
  #slots: Uint32Array<ArrayBuffer>; // (slots, width): high and low word of a hash, a number; a low word of 0 is an empty slot
  #used = 0;

  constructor(width: 2 | 3) {
    this.#width = width;
    this.#slots = new Uint32Array(width * 16);
  }

  get sizeBytes(): number {
    return this.#slots.byteLength;
  }

  find(high: number, low: number): number | null {
    const at = this.#slotOf(high, low);
    if (this.#slots[at + 1] === 0) return null;
    return this.#width === 3 ? (this.#slots[at + 2] ?? 0) : 0;
  }

  add(high: number, low: number, number: number): void {
    this.#put(high, low, number);
    this.#used += 1;
    if (this.#used <= (this.#slots.length / this.#width) * fullest) return;
    const old = this.#slots;
    this.#slots = new Uint32Array(this.#width * Math.ceil((old.length / this.#width) * growth));
    for (let at = 0; at < old.length; at += this.#width) {
      const moved = old[at + 1] ?? 0;
      if (moved !== 0) this.#put(old[at] ?? 0, moved, old[at + this.#width - 1] ?? 0);
    }
    old.buffer.transfer(0);
  }

  free(): void {
    this.#slots.buffer.transfer(0);
  }

  #put(high: number, low: number, number: number): void {
    const at = this.#slotOf(high, low);
    this.#slots[at] = high;
    this.#slots[at + 1] = low;
    if (this.#width === 3) this.#slots[at + 2] = number;
  }

  /** The slot of this hash, or the empty one where it belongs. */
  #slotOf(high: number, low: number): number {
    const slots = this.#slots;
    if (slots.length === 0) throw new TypeError("these texts were disposed of");
    const width = this.#width;
    for (let at = width * (low % (slots.length / width)); ; at = at + width === slots.length ? 0 : at + width) {
      if (slots[at + 1] === 0 || (slots[at] === high && slots[at + 1] === low)) return at;
    }
  }
}
