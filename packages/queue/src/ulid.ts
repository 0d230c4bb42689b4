/** ULIDs in lower case: the names of plans, attempts and seals. Owns their form, their 16 bytes in Redis, and the way back. */
import { ulid } from "ulid";

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
const form = /^[0-7][0-9a-hjkmnp-tv-z]{25}$/;

/** A fresh one, as plans, attempts and seals are named. */
export function newUlid(): string {
  return ulid().toLowerCase();
}

export function isUlid(text: string): boolean {
  return form.test(text);
}

export function packUlid(text: string): Buffer {
  if (!isUlid(text)) throw new TypeError(`not a ULID in lower case: ${text}`);
  let value = 0n;
  for (const character of text) value = value * 32n + BigInt(alphabet.indexOf(character));
  return Buffer.from(value.toString(16).padStart(32, "0"), "hex");
}

export function unpackUlid(bytes: Uint8Array): string {
  let value = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  let text = "";
  for (let position = 0; position < 26; position += 1) {
    text = alphabet.charAt(Number(value % 32n)) + text;
    value /= 32n;
  }
  return text;
}
