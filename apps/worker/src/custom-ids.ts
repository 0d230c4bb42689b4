/**
 * Which custom_ids a manifest has shown. Owns the memory of them: 64 bits of a hash each, at most 16 bytes per id from some thousands of ids on.
 * The hashes lie in many small tables, so that a table that grows needs little room beside itself while it does; of many ids each is of megabytes, which go back to the
 * system when the plan is done.
 *
 * Two different ids with equal hashes would pass for duplicates: one chance in 23 million at ten million ids (the table's number is 6 bits more).
 * The hash begins at a random number of its own for each manifest, so that nobody can choose such ids; a cryptographic one took a quarter of a plan's time.
 * Past `mostRemembered` ids no further one is remembered (a stated bound of memory: 256 MiB): a later duplicate of a remembered one is still found.
 */
import { randomInt } from "node:crypto";

const mostRemembered = 16_000_000;
const tables = 64;
/** Full to three quarters, a table becomes half as large again: 8 bytes a slot make 10.7 to 16 bytes an id. */
const fullest = 0.75;
const growth = 1.5;

export class CustomIds {
  readonly #tables = Array.from({ length: tables }, () => new HashTable());
  readonly #seeds = [randomInt(2 ** 32), randomInt(2 ** 32), randomInt(2 ** 32)] as const;
  #remembered = 0;

  /** Of the tables together. */
  get sizeBytes(): number {
    return this.#tables.reduce((sum, table) => sum + table.sizeBytes, 0);
  }

  /** True where the id was remembered before. */
  seen(customId: string): boolean {
    const [first, second, third] = this.#seeds;
    const table = this.#tables[hash(customId, first) % tables];
    // Never 0, 0: that marks an empty slot.
    const answer = table?.seen(hash(customId, second), hash(customId, third) || 1, this.#remembered < mostRemembered);
    if (answer === "added") this.#remembered += 1;
    return answer === "there";
  }
}

/** MurmurHash3's 32 bits (Appleby, public domain), a UTF-16 unit where it takes four bytes. */
function hash(text: string, seed: number): number {
  let state = seed;
  for (let at = 0; at < text.length; at++) {
    const unit = Math.imul(text.charCodeAt(at), 0xcc9e2d51);
    state ^= Math.imul((unit << 15) | (unit >>> 17), 0x1b873593);
    state = (Math.imul((state << 13) | (state >>> 19), 5) + 0xe6546b64) | 0;
  }
  state ^= text.length;
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}

class HashTable {
  #slots = new Uint32Array(2 * 16); // (slots, 2): high and low word of a hash; a low word of 0 is an empty slot
  #used = 0;

  get sizeBytes(): number {
    return this.#slots.byteLength;
  }

  seen(high: number, low: number, mayAdd: boolean): "there" | "added" | "left" {
    const at = this.#find(high, low);
    if (this.#slots[at + 1] !== 0) return "there";
    if (!mayAdd) return "left";
    this.#slots[at] = high;
    this.#slots[at + 1] = low;
    this.#used += 1;
    if (this.#used > (this.#slots.length / 2) * fullest) this.#grow();
    return "added";
  }

  /** The slot of this hash, or the empty one where it belongs. */
  #find(high: number, low: number): number {
    const slots = this.#slots;
    for (let at = 2 * (low % (slots.length / 2)); ; at = at + 2 === slots.length ? 0 : at + 2) {
      if (slots[at + 1] === 0 || (slots[at] === high && slots[at + 1] === low)) return at;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(2 * Math.ceil((old.length / 2) * growth));
    for (let at = 0; at < old.length; at += 2) {
      const high = old[at] ?? 0;
      const low = old[at + 1] ?? 0;
      if (low === 0) continue;
      const place = this.#find(high, low);
      this.#slots[place] = high;
      this.#slots[place + 1] = low;
    }
  }
}
