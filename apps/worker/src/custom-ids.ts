/**
 * Which custom_ids a manifest has shown. Owns the memory of them: 64 bits of a hash each, in one flat table, about 16 bytes per id.
 *
 * Two different ids with equal hashes would pass for duplicates: one chance in 100,000 at ten million ids.
 * Past `mostRemembered` ids no further one is remembered (a stated bound of memory: 256 MiB): a later duplicate of a remembered one is still found.
 */
import { hash } from "node:crypto";

const mostRemembered = 16_000_000;

export class CustomIds {
  #slots = new Uint32Array(2 * 1_024); // (slots, 2): high and low word of a hash; 0, 0 is an empty slot
  #remembered = 0;

  /** True where the id was remembered before. */
  seen(customId: string): boolean {
    const digest = hash("sha1", customId, "buffer");
    const high = digest.readUInt32LE(0);
    // Never 0, 0: that marks an empty slot.
    const low = digest.readUInt32LE(4) || 1;
    const at = this.#find(high, low);
    if (this.#slots[at + 1] !== 0) return true;
    if (this.#remembered >= mostRemembered) return false;
    this.#slots[at] = high;
    this.#slots[at + 1] = low;
    this.#remembered += 1;
    if (this.#remembered * 2 > this.#slots.length / 2) this.#grow();
    return false;
  }

  /** The slot of this hash, or the empty one where it belongs. */
  #find(high: number, low: number): number {
    const slots = this.#slots;
    const mask = slots.length / 2 - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const at = 2 * slot;
      if (slots[at + 1] === 0 || (slots[at] === high && slots[at + 1] === low)) return at;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2);
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
