// A seeded stream of numbers: the same seed gives the same scenes on every machine. Owns nothing else; not for secrets.

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform in [low, high). */
  between(low: number, high: number): number;
  /** Uniform integer in [0, end). */
  below(end: number): number;
  /** One element, uniformly. Throws on an empty list. */
  pick<T extends string | number | object>(list: readonly T[]): T;
}

/** sfc32 (PractRand's small fast counter), seeded by a 32-bit integer and a stream number. */
export function seededRandom(seed: number, stream = 0): Random {
  let a = seed >>> 0;
  let b = stream >>> 0;
  let c = 0x9e3779b9;
  let counter = 1;
  function next32(): number {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return sum >>> 0;
  }
  // Neighbouring seeds start almost equal: the first outputs are thrown away until they differ in every bit.
  for (let i = 0; i < 15; i++) next32();
  const next = () => next32() / 0x1_0000_0000;
  const below = (end: number) => Math.floor(next() * end);
  return {
    next,
    below,
    between: (low, high) => low + (high - low) * next(),
    pick(list) {
      const picked = list[below(list.length)];
      if (picked === undefined) throw new RangeError("nothing to pick from");
      return picked;
    },
  };
}
